"""How well burned-in text is found and removed: python tests/tools/measure_text.py, --help for more.

Simulated frames with known text, simulated frames without, and, where data/ is there, real pictures without truth.
An item is located if at least 95% of its ink is masked, and unreadable if the recogniser, shown the place of the
item in the masked picture, reads no three letters or digits in a row of what stood there. An item is faint if
its grey is within 45 grey levels of the mean of the tissue behind it. Tissue lost are masked pixels outside the
rectangles around the ink.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from sonogrid.arrays import Box, Mask, Picture
from sonogrid.cohort.phantom.scanner import SCANNERS
from sonogrid.cohort.picture_files import open_picture
from sonogrid.images.boxes import blackened, crop, whole
from sonogrid.images.frame import scan_area
from sonogrid.images.messages import TextRemains
from sonogrid.images.text import find_text, read_text, text_to_mask

sys.path.insert(0, str(Path(__file__).parents[1]))
from burned_in import COLOURS, Item, as_jpeg, burn, export, phantom

DATA = Path(__file__).parents[2] / "data"
SHOWN = ("bmode", "cdfi", "elastography")
LARGE = (800, 600)
FAINT, READ_IN_A_ROW = 45, 3
LUMINANCE = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Frame:
    """A simulated frame: its modality, the picture before and after the text was drawn, and the text."""

    number: int
    modality: str
    clean: Picture
    picture: Picture
    items: list[Item]
    jpeg: bool


def frames(count: int, items: int, chinese: str = "") -> Iterable[Frame]:
    """Frames of 800 x 600 and of the phantom's own size in turn; one in four with a black band; half of them JPEG."""
    for seed in range(count):
        modality = SHOWN[seed % 3]
        clean = phantom(modality, seed, LARGE if seed % 2 == 0 else None)
        if seed % 4 == 0:
            clean[: clean.shape[0] // 6] = 0
        picture, written = burn(clean, items, np.random.default_rng(10_000 + seed), chinese)
        jpeg = (seed // 3) % 2 == 1
        yield Frame(seed, modality, clean, as_jpeg(picture, 85) if jpeg else picture, written, jpeg)


def masked_pixels(picture: Picture, boxes: list[Box]) -> Mask:
    """H x W, True inside the boxes."""
    inside: Mask = blackened(np.ones_like(picture), boxes)[..., 0] == 0
    return inside


def rectangle(ink: Mask) -> Box:
    """The smallest box around ink."""
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def still_read(picture: Picture, item: Item) -> bool:
    """Whether the recogniser, shown where the item stands, reads READ_IN_A_ROW or more of its letters in a row."""
    box, edge = rectangle(item.ink), whole(picture)
    around = Box(max(0, box.x0 - 4), max(0, box.y0 - 4), min(edge.x1, box.x1 + 4), min(edge.y1, box.y1 + 4))
    truth = _letters(item.text)
    for text, _ in read_text(crop(picture, around)):
        seen = _letters(text)
        if SequenceMatcher(None, truth, seen, autojunk=False).find_longest_match().size >= READ_IN_A_ROW:
            return True
    return False


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text)).lower()


def is_faint(frame: Frame, item: Item) -> bool:
    """Whether the item's colour is grey and close to the mean of the tissue behind it."""
    grey = np.ptp(COLOURS[item.colour]) == 0
    behind = float((frame.clean[item.ink] @ LUMINANCE).mean())
    return bool(grey and abs(np.dot(COLOURS[item.colour], LUMINANCE) - behind) < FAINT)


def measured(frame: Frame, save: Path | None) -> list[dict[str, object]]:
    """One row an item."""
    start = time.process_time()
    try:
        boxes, given_up = text_to_mask(frame.picture), False
    except TextRemains:
        boxes, given_up = find_text(frame.picture), True
    seconds = time.process_time() - start
    after, inside = blackened(frame.picture, boxes), masked_pixels(frame.picture, boxes)
    assert np.array_equal(after[~inside], frame.picture[~inside]) and not after[inside].any()
    written = masked_pixels(frame.picture, [rectangle(item.ink) for item in frame.items])
    if save is not None:
        Image.fromarray(np.hstack([frame.picture, after])).save(save)
    common = {
        "modality": frame.modality,
        "jpeg": frame.jpeg,
        "frame": frame.number,
        "large": frame.picture.shape[:2] == LARGE[::-1],
        "given_up": given_up,
        "lost": (inside & ~written).mean() / max(1, len(frame.items)),
        "false": sum(not written[box.y0 : box.y1, box.x0 : box.x1].any() for box in boxes),
        "seconds": seconds,
    }
    return [
        common
        | {
            "kind": item.kind,
            "size": item.size,
            "colour": item.colour,
            "smooth": item.smooth,
            "turned": item.turned,
            "cut": item.cut,
            "faint": is_faint(frame, item),
            "readable before": still_read(frame.picture, item),
            "located": bool(inside[item.ink].mean() >= 0.95),
            "unreadable": not still_read(after, item),
        }
        for item in frame.items
    ]


def without_text(count: int) -> pd.DataFrame:
    """One row a simulated frame without text: boxes found and share of the scan lost."""
    rows = []
    for seed in range(500, 500 + count):
        picture = phantom(SHOWN[seed % 3], seed, LARGE if seed % 2 else None)
        start = time.process_time()
        boxes = text_to_mask(picture)
        seconds = time.process_time() - start
        lost = masked_pixels(picture, boxes).mean()
        rows.append(
            {
                "modality": SHOWN[seed % 3],
                "boxes": len(boxes),
                "lost": lost,
                "seconds": seconds,
                "large": bool(seed % 2),
            }
        )
    return pd.DataFrame(rows)


def with_marks(count: int) -> pd.DataFrame:
    """One row a simulated frame with calliper crosses, a dotted line and a ruler, but no text: pixels masked.

    Also the share of the colour bar that is masked where the whole export is looked at, bars and labels included.
    """
    rows = []
    for seed in range(700, 700 + count):
        rng, modality = np.random.default_rng(seed), SHOWN[seed % 3]
        image = Image.fromarray(phantom(modality, seed, LARGE))
        draw = ImageDraw.Draw(image)
        (x0, y0), (x1, y1) = rng.integers((150, 150), (350, 400)), rng.integers((400, 150), (650, 450))
        for x, y in ((x0, y0), (x1, y1)):
            draw.line((x - 7, y, x + 7, y), fill=(255, 255, 0))
            draw.line((x, y - 7, x, y + 7), fill=(255, 255, 0))
        for step in np.linspace(0, 1, 40):
            draw.point((x0 + step * (x1 - x0), y0 + step * (y1 - y0)), fill=(255, 255, 0))
        for y in range(0, 600, 30):
            draw.line((790 if y % 60 else 784, y, 799, y), fill=(230, 230, 230))
        picture = np.array(image)
        boxes = text_to_mask(picture)
        row = {"modality": modality, "boxes": len(boxes), "lost": masked_pixels(picture, boxes).mean()}
        scanner = SCANNERS[seed % len(SCANNERS)]
        top, height = {
            "bmode": (scanner.top + 30, 120),
            "cdfi": (scanner.top + 190, 150),
            "elastography": (scanner.top - 6 + 40, 160),
        }[modality]
        screen = export(modality, seed)[0]
        bar = masked_pixels(screen, text_to_mask(screen))[top : top + height, 14:26]
        rows.append(row | {"bar": bar.mean()})
    return pd.DataFrame(rows)


def real(paths: list[Path], opened: Callable[[Path], Picture], folder: Path | None) -> pd.DataFrame:
    """One row a real picture: boxes found in its scan area, share masked, whether it was given up."""
    rows = []
    for path in paths:
        picture = opened(path)
        scan = crop(picture, scan_area(picture))
        try:
            boxes, given_up = text_to_mask(scan), False
        except TextRemains:
            boxes, given_up = [], True
        after = blackened(scan, boxes)
        rows.append(
            {"name": path.name, "boxes": len(boxes), "share": masked_pixels(scan, boxes).mean(), "given_up": given_up}
        )
        if folder is not None and (boxes or given_up):
            Image.fromarray(np.hstack([scan, after])).save(folder / f"real_{path.stem}.png")
    return pd.DataFrame(rows)


def summary(items: pd.DataFrame) -> pd.Series:
    """n and shares over rows of items."""
    legible = items[items["readable before"]]
    return pd.Series(
        {
            "n": len(items),
            "located": items["located"].mean(),
            "unreadable after": items["unreadable"].mean(),
            "n readable before": len(legible),
            "of these unreadable after": legible["unreadable"].mean(),
        }
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chinese", default="", help="a font file with Chinese characters")
    parser.add_argument("--save", type=Path, help="folder for pictures before and after")
    parser.add_argument("--frames", type=int, default=60)
    options = parser.parse_args()
    if options.save is not None:
        options.save.mkdir(parents=True, exist_ok=True)
    start = time.process_time()
    find_text(np.full((64, 64, 3), 9, dtype=np.uint8))
    print(f"engine: {time.process_time() - start:.1f} s of CPU to start")

    rows: list[dict[str, object]] = []
    for number, frame in enumerate(frames(options.frames, 8)):
        save = None if options.save is None else options.save / f"simulated_{number:02}.png"
        rows += measured(frame, save)
    items = pd.DataFrame(rows)
    print("\nSIMULATED frames with text\n")
    print("all      ", summary(items).round(3).to_dict())
    print("not faint", summary(items[~items["faint"]]).round(3).to_dict())
    plain = items[~items["faint"] & ~items["turned"] & (items["size"] >= 12)]
    print("not faint, lying, 12 px or more", summary(plain).round(3).to_dict())
    for column in ("faint", "size", "colour", "kind", "turned", "cut", "smooth", "jpeg", "modality"):
        table = (items if column == "faint" else items[~items["faint"]]).groupby(column)
        print("\n" + pd.DataFrame({value: summary(group) for value, group in table}).T.round(3).to_string())
    each = items.drop_duplicates("frame")
    print("\ntissue lost, share of the scan a text:", each.groupby("modality")["lost"].mean().round(4).to_dict())
    print(
        "frames",
        len(each),
        "given up",
        int(each["given_up"].sum()),
        "boxes that touch no text",
        int(each["false"].sum()),
    )
    print("seconds of CPU a frame of 800 x 600 with text:", each[each["large"]]["seconds"].median().round(2))

    if options.chinese:
        found = pd.DataFrame([row for frame in frames(12, 6, options.chinese) for row in measured(frame, None)])
        print("\nChinese, all", summary(found).round(3).to_dict())
        print("Chinese, not faint", summary(found[~found["faint"]]).round(3).to_dict())

    clean = without_text(30)
    print("\nSIMULATED frames without text\n")
    print(
        clean.groupby("modality")[["boxes", "lost"]].agg({"boxes": ["size", "sum"], "lost": ["mean", "max"]}).round(5)
    )
    print(
        "seconds a frame of 800 x 600:",
        clean[clean["large"]].groupby("modality")["seconds"].median().round(2).to_dict(),
    )

    marks = with_marks(12)
    print("\nSIMULATED frames with crosses, dotted line and ruler; colour bar in whole exports\n")
    print(marks.groupby("modality")[["boxes", "lost", "bar"]].mean().round(4).to_string())

    busi = [path for path in sorted((DATA / "busi").glob("*/*.png")) if "_mask" not in path.name][::8]
    busbra = sorted((DATA / "busbra" / "Images").glob("*.png"))[::20]
    for name, paths in (("BUSI", busi), ("BUS-BRA", busbra)):
        if paths:
            table = real(paths, open_picture, options.save)
            print(
                f"\nREAL pictures, {name}: {len(table)}, with boxes {int((table['boxes'] > 0).sum())}, "
                f"boxes {table['boxes'].sum()}, given up {int(table['given_up'].sum())}, "
                f"share masked {table['share'].mean():.4f} (largest {table['share'].max():.4f})"
            )
    print(f"\npeak memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
