"""Copies are found, in whatever way they were changed; what is not a copy is not; the right kind is told."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from unit.audit.audit_study import SIZE, Shot, album_of, mixture, scene

from sonogrid.arrays import Picture
from sonogrid.audit.album import Album
from sonogrid.audit.duplicates import LARGEST_DISTANCE, exact_duplicates, near_duplicates
from sonogrid.audit.findings import Finding
from sonogrid.audit.fingerprints import WINDOWS, close_pairs, hash_picture
from sonogrid.audit.registration import similarity

BUSI = Path(__file__).parents[4] / "shared" / "data" / "busi"
WHOLE = WINDOWS[0]


def resized(picture: Picture, width: int, height: int) -> Picture:
    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).resize((width, height), Image.Resampling.BICUBIC))


def cropped(picture: Picture) -> Picture:
    """80% of the width and height, from a corner, filling a canvas as a store fills it."""
    return resized(picture[SIZE // 5 :, : SIZE - SIZE // 5], SIZE, SIZE)


def shifted(picture: Picture) -> Picture:
    """Moved by a tenth; what came in from the edge is of another picture."""
    moved = scene(999)
    step = SIZE // 10
    moved[step:, step:] = picture[:-step, :-step]
    return moved


def compressed(picture: Picture) -> Picture:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=50)
    return np.asarray(Image.open(buffer))


def annotated(picture: Picture) -> Picture:
    image = Image.fromarray(picture.copy())
    draw = ImageDraw.Draw(image)
    draw.line([20, 30, 70, 60], fill=(255, 255, 0), width=2)
    draw.text((10, 80), "D1 12 mm", fill=(255, 255, 255))
    draw.rectangle([60, 5, 90, 15], fill=(0, 0, 0))
    return np.asarray(image)


CHANGES = {
    "gain": lambda picture: np.clip(0.7 * picture.astype(float) + 30, 0, 255).astype(np.uint8),
    "gamma": lambda picture: (255 * (picture / 255) ** 1.5).astype(np.uint8),
    "jpeg": compressed,
    "annotated": annotated,
    "resized": lambda picture: resized(resized(picture, 60, 60), SIZE, SIZE),
    "cropped": cropped,
    "shifted": shifted,
    "mirrored": lambda picture: np.ascontiguousarray(picture[:, ::-1]),
    "mirrored crop": lambda picture: np.ascontiguousarray(cropped(picture)[:, ::-1]),
    "all of it": lambda picture: compressed(annotated(cropped(picture))),
}


def near(album: Album, **folds: int) -> list[Finding]:
    return near_duplicates(album, folds)


def exact(album: Album, **folds: int) -> list[Finding]:
    return exact_duplicates(album.entries, folds)


@pytest.mark.parametrize("name", ["copy", "the copy"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_and_others_are_not(change: str, name: str) -> None:
    shots = [Shot(f"i{seed}", f"p{seed}", "benign", scene(seed)) for seed in range(6)]
    copy = Shot(name, "q", "benign", CHANGES[change](scene(3)))
    found = near(album_of([*shots, copy]), p3=0, q=1)
    assert [one.kind for one in found] == ["near_duplicate_between_patients"]
    assert found[0].images == tuple(sorted((name, "i3"))) and found[0].patients == ("p3", "q")
    assert found[0].severity == "stop" and "test folds 0, 1" in found[0].what
    assert ("mirrored copies" in found[0].what) == change.startswith("mirrored")


def test_similarity_is_one_for_itself_and_near_zero_for_another() -> None:
    assert similarity(scene(1), scene(1), WHOLE, WHOLE, False) == pytest.approx(1, abs=1e-4)
    assert similarity(scene(1), scene(2), WHOLE, WHOLE, False) < 0.4


@pytest.mark.parametrize(("correlation", "found"), [(0.83, False), (0.87, True)])
def test_pictures_are_one_from_a_similarity_of_085(correlation: float, found: bool) -> None:
    one, other = scene(2), mixture(2, 102, correlation)
    (pair,) = close_pairs([hash_picture(one), hash_picture(other)], LARGEST_DISTANCE)
    value = similarity(one, other, pair.window_first, pair.window_second, pair.mirrored)
    assert value == pytest.approx(correlation, abs=0.02)
    assert bool(near(album_of([Shot("a", "p", "benign", one), Shot("b", "q", "benign", other)]))) == found


def decoded(grey: Picture, measured: Picture, coloured: int, opaque: bool = False) -> Picture:
    """Channels as a store has them: stiffness, 255 where coloured, grey level; or towards, away, grey level."""
    canvas = grey.copy()
    canvas[..., :2] = 0
    canvas[20:80, 20:80, 0] = measured[20:80, 20:80, 0]
    canvas[20:80, 20:80, 1] = coloured
    if opaque:
        canvas[20:80, 20:80, 2] = 0
    return canvas


@pytest.mark.parametrize(("modality", "coloured"), [("elastography", 255), ("cdfi", 0)])
def test_pictures_with_one_colour_box_are_no_copies_and_copies_of_the_grey_level_are(
    modality: str, coloured: int
) -> None:
    pictures = {
        "a": decoded(scene(1) // 4, scene(9), coloured),
        "b": decoded(scene(2) // 4, scene(9), coloured),
        "c": decoded(scene(1) // 4, scene(8), coloured),
    }
    shots = [Shot(name, name, "benign", picture, modality) for name, picture in pictures.items()]
    assert [found.images for found in near(album_of(shots, decoded=(modality,)))] == [("a", "c")]
    # Read as colours they are other pairs: the test can tell.
    assert [found.images for found in near(album_of(shots))] != [("a", "c")]
    corpus = album_of(shots[:1], decoded=(modality,), pretrained=shots[1:])
    assert [found.images for found in near(corpus)] == [("a", "pretrained:c")]


def test_opaque_colour_boxes_are_no_copies_and_their_copies_are() -> None:
    shots = [
        Shot(f"i{seed}", f"p{seed}", "benign", decoded(scene(seed), scene(seed + 10), 255, True), "elastography")
        for seed in range(4)
    ]
    copy = decoded(compressed(scene(3)), compressed(scene(13)), 255, True)
    album = album_of([*shots, Shot("copy", "q", "benign", copy, "elastography")], decoded=("elastography",))
    assert [found.images for found in near(album)] == [("copy", "i3")]


def test_an_empty_picture_is_compared_with_none() -> None:
    black, grey = np.zeros((SIZE, SIZE, 3), np.uint8), np.full((SIZE, SIZE, 3), 90, np.uint8)
    assert close_pairs([hash_picture(black), hash_picture(grey), hash_picture(black)], 256) == []
    assert similarity(black, grey, WHOLE, WHOLE, False) == -1


def test_a_hash_of_a_step_edge_by_hand() -> None:
    # Dark left, bright right: only the first cells to the right of the step are brighter than their surroundings.
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:, 32:] = 200
    bits = np.unpackbits(hash_picture(picture).windows[0].view(np.uint8)).reshape(4, 4, 16)
    assert (bits == bits[0, 0]).all()
    assert bits[0, 0].tolist()[:8] == [0] * 8 and bits[0, 0, 8] == 1


LABELS = [("benign", "benign", "between_patients"), ("benign", "malignant", "two_labels")]


@pytest.mark.parametrize(("one", "other", "ending"), LABELS)
def test_kinds_of_two_patients(one: str, other: str, ending: str) -> None:
    def pair(picture: Picture, file: str) -> Album:
        return album_of([Shot("a", "p", one, scene(1), file="x"), Shot("b", "q", other, picture, file=file)])

    for album, how in ((pair(scene(1), "x"), "same_file"), (pair(scene(1), "y"), "same_canvas")):
        assert [(found.kind, found.severity) for found in exact(album)] == [(f"{how}_{ending}", "stop")]
        assert near(album) == []
    changed = pair(cropped(scene(1)), "y")
    assert exact(changed) == []
    assert [found.kind for found in near(changed)] == [f"near_duplicate_{ending}"]


def test_one_patient_is_a_note_and_two_modalities_of_one_picture_stop() -> None:
    same = [Shot("a", "p", "benign", scene(1), file="x"), Shot("b", "p", "benign", scene(1), file="x")]
    assert [(one.kind, one.severity) for one in exact(album_of(same))] == [("same_file_within_patient", "note")]
    changed = [same[0], Shot("b", "p", "benign", cropped(scene(1)))]
    assert [(one.kind, one.severity) for one in near(album_of(changed))] == [("near_duplicate_within_patient", "note")]
    twice = [same[0], Shot("b", "p", "benign", scene(1), modality="cdfi")]
    assert [(one.kind, one.severity) for one in exact(album_of(twice))] == [("same_picture_two_modalities", "stop")]
    # The grey picture below a colour picture is the same plane: nothing to tell within a patient.
    assert near(album_of([same[0], Shot("b", "p", "benign", cropped(scene(1)), modality="cdfi")])) == []


def test_frames_of_one_file_are_no_copies_within_a_patient_and_are_under_two() -> None:
    frames = [Shot("a", "p", "benign", scene(1), file="cine"), Shot("b", "p", "benign", scene(2), file="cine")]
    assert exact(album_of(frames)) == []
    shared = [frames[0], Shot("b", "q", "benign", scene(2), file="cine")]
    assert [one.kind for one in exact(album_of(shared))] == ["same_file_between_patients"]


def test_a_corpus_with_pictures_of_the_cohort() -> None:
    own = [Shot("a", "p", "benign", scene(1), file="x"), Shot("b", "q", "benign", scene(2))]
    theirs = [
        Shot("a", "p", "malignant", scene(1), file="x"),
        Shot("c", "r", "benign", cropped(scene(2))),
        Shot("d", "s", "benign", scene(3)),
        Shot("e", "t", "malignant", cropped(scene(3))),
        Shot("f", "u", "benign", scene(4)),
        Shot("g", "v", "benign", scene(4)),
    ]
    album = album_of(own, pretrained=theirs)
    found = exact_duplicates(album.entries, {}, of_corpora=True) + near_duplicates(album, {}, of_corpora=True)
    assert sorted((one.images, one.kind, one.severity) for one in found) == [
        (("a", "pretrained:a"), "corpus_overlap", "stop"),
        (("b", "pretrained:c"), "corpus_overlap", "stop"),
        (("pretrained:d", "pretrained:e"), "corpus_two_labels", "note"),
    ]


def test_the_same_kind_is_not_told_for_the_cohort_in_an_audit_of_the_corpus() -> None:
    own = [Shot("a", "p", "benign", scene(1), file="x"), Shot("b", "q", "benign", scene(1), file="x")]
    own.append(Shot("c", "r", "benign", cropped(scene(1))))
    album = album_of(own, pretrained=[Shot("z", "z", "benign", scene(9))])
    assert exact_duplicates(album.entries, {}, of_corpora=True) == []
    assert near_duplicates(album, {}, of_corpora=True) == []


def test_a_copy_of_two_equal_pictures_is_told_for_both_patients() -> None:
    shots = [Shot(name, name, "benign", scene(1)) for name in "ab"]
    found = near(album_of([*shots, Shot("c", "c", "benign", cropped(scene(1)))]))
    assert sorted(one.images for one in found) == [("a", "c"), ("b", "c")]


@pytest.mark.skipif(not BUSI.is_dir(), reason="the shared real data are not there")
def test_known_true_cases_of_busi() -> None:
    def canvas(name: str) -> Picture:
        picture = np.asarray(Image.open(BUSI / f"{name}.png").convert("RGB"))
        return resized(picture, SIZE, SIZE)

    names = [
        *("benign/benign (433)", "malignant/malignant (145)", "benign/benign (333)", "malignant/malignant (78)"),
        *(
            "benign/benign (437)",
            "normal/normal (34)",
            "benign/benign (2)",
            "malignant/malignant (2)",
            "normal/normal (2)",
        ),
    ]
    album = album_of([Shot(name, name, name.split("/")[0], canvas(name)) for name in names])
    found = {one.images for one in (*exact(album), *near(album))}
    assert found == {
        ("benign/benign (433)", "malignant/malignant (145)"),
        ("benign/benign (333)", "malignant/malignant (78)"),
        ("benign/benign (437)", "normal/normal (34)"),
    }
