"""Decoding of picture files: stated rules for kinds of pixels, and one clear problem for each damaged file."""

import io
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sonogrid.arrays import Picture
from sonogrid.cohort import picture_files as pictures
from sonogrid.cohort.picture_files import open_mask, open_picture
from sonogrid.parallel import in_order
from sonogrid.problems import InputError, Problem


def encoded(image: Image.Image, kind: str, **how: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=kind, **how)
    return stream.getvalue()


def noise(height: int = 40, width: int = 60) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def opened(path: Path) -> Picture | Problem:
    try:
        return open_picture(path)
    except InputError as error:
        (problem,) = error.problems
        return problem


def test_grey_palette_and_one_bit_become_the_same_grey_rgb(tmp_path: Path) -> None:
    grey = Image.fromarray(np.array([[0, 255], [255, 0]], dtype=np.uint8))
    expected = np.repeat(np.array([[0, 255], [255, 0]], dtype=np.uint8)[..., None], 3, axis=2)
    for mode in ("L", "1", "P", "RGB"):
        grey.convert(mode).save(tmp_path / f"{mode}.png")
        assert np.array_equal(open_picture(tmp_path / f"{mode}.png"), expected), mode


def test_sixteen_bit_grey_is_scaled_from_its_full_range(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 257, 65535, 32896]], dtype=np.uint16)).save(tmp_path / "deep.png")
    assert open_picture(tmp_path / "deep.png")[0, :, 0].tolist() == [0, 1, 255, 128]


def test_transparent_pixels_lie_over_black(tmp_path: Path) -> None:
    pixels = np.array([[[200, 100, 50, 255], [200, 100, 50, 0]]], dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "alpha.png")
    assert open_picture(tmp_path / "alpha.png").tolist() == [[[200, 100, 50], [0, 0, 0]]]


def test_palette_with_a_transparent_colour_lies_over_black(tmp_path: Path) -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "palette.png", transparency=1)
    assert open_picture(tmp_path / "palette.png").tolist() == [[[255, 0, 0], [0, 0, 0]]]


def test_cmyk_jpeg_becomes_rgb(tmp_path: Path) -> None:
    Image.new("RGB", (16, 16), (255, 0, 0)).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=100)
    red, green, blue = open_picture(tmp_path / "cmyk.jpg")[8, 8].tolist()
    assert red > 240 and green < 15 and blue < 15


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # EXIF: the camera was turned; rotate by 90 degrees clockwise to show
    noise(40, 60).save(tmp_path / "turned.jpg", exif=exif)
    assert open_picture(tmp_path / "turned.jpg").shape == (60, 40, 3)


def test_mask_is_true_where_any_channel_is_above_zero(tmp_path: Path) -> None:
    Image.fromarray(np.array([[[0, 0, 0], [0, 0, 1]]], dtype=np.uint8)).save(tmp_path / "mask.png")
    assert open_mask(tmp_path / "mask.png").tolist() == [[False, True]]


@pytest.mark.parametrize(
    ("data", "said", "remedy"),
    [
        (b"", "is empty", "Copy the file again"),
        (b"not a picture at all", "is not a picture", "Replace it"),
        (encoded(noise(), "PNG")[:900], "cut short", "Copy the file again"),
        (encoded(noise(), "JPEG")[:900], "cut short", "Copy the file again"),
        (encoded(noise(), "BMP")[:900], "cut short", "Copy the file again"),
        (encoded(noise(), "GIF"), "is not a picture", "Replace it"),
        (encoded(Image.new("F", (4, 4)), "TIFF"), "32-bit", "8-bit"),
        (encoded(noise(), "TIFF", save_all=True, append_images=[noise()]), "2 frames", "of its own"),
    ],
    ids=["empty", "text", "png", "jpeg", "bmp", "gif", "float", "frames"],
)
def test_a_file_that_cannot_be_used_is_named_with_reason_and_remedy(
    tmp_path: Path, data: bytes, said: str, remedy: str
) -> None:
    path = tmp_path / "patient 1.png"
    path.write_bytes(data)
    found = opened(path)
    assert isinstance(found, Problem)
    assert found.where == str(path) and said in found.what and remedy in found.remedy


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.png: there is no such file"):
        open_picture(tmp_path / "gone.png")


def test_pictures_above_the_limit_are_refused_before_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 1-bit zeros compress to a few kilobytes: a small file that would fill gigabytes.
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    Image.new("1", (8_000, 7_000)).save(tmp_path / "large.png")

    def refuse(self: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", refuse)
    for name in ("bomb.png", "large.png"):
        found = opened(tmp_path / name)
        assert isinstance(found, Problem) and "too large" in found.what and "50 megapixels" in found.what


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP"])
def test_any_cut_or_changed_byte_gives_a_picture_or_a_problem(tmp_path: Path, kind: str) -> None:
    data = encoded(noise(16, 16), kind)
    random = np.random.default_rng(1)
    path = tmp_path / "x.png"
    for _ in range(150):
        changed = bytearray(data)
        changed[random.integers(len(data))] = random.integers(256)
        path.write_bytes(bytes(changed[: random.integers(len(data) // 2, len(data) + 1)]))
        found = opened(path)
        assert isinstance(found, (np.ndarray, Problem))


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    def slow_first(number: int) -> int:
        time.sleep(0.01 if number == 0 else 0.0)
        return number * number

    assert list(in_order(slow_first, range(40), workers)) == [number * number for number in range(40)]


def test_only_a_bounded_number_of_items_is_taken_ahead() -> None:
    taken: list[int] = []

    def items() -> object:
        for number in range(100):
            taken.append(number)
            yield number

    results = in_order(str, items(), 2)
    assert next(results) == "0"
    assert len(taken) <= 8
    results.close()


def test_limit_is_the_documented_one() -> None:
    assert pictures.MAX_PIXELS == 50_000_000
