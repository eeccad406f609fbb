"""Laws of the audit: order and other pictures do not matter, copies are found, a name accepts one finding."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.audit.audit_study import Shot, album_of, scene

from sonogrid.arrays import Picture
from sonogrid.audit.album import Album
from sonogrid.audit.duplicates import exact_duplicates, near_duplicates
from sonogrid.audit.findings import KINDS, Finding, unaccepted
from sonogrid.audit.fingerprints import WINDOWS, close_pairs, hash_picture

SCENES = [scene(seed) for seed in range(8)]
pictures = st.sampled_from(SCENES)
labels = st.sampled_from(["benign", "malignant"])


@st.composite
def cohorts(draw: st.DrawFn) -> list[Shot]:
    """Pictures of patients, with copies among them, some of them brighter."""
    patients = draw(st.integers(2, 5))
    label_of = [draw(labels) for _ in range(patients)]
    shots = []
    for place in range(draw(st.integers(2, 7))):
        patient = draw(st.integers(0, patients - 1))
        picture = draw(pictures)
        if draw(st.booleans()):
            picture = (picture * 0.8).astype(np.uint8)
        file = draw(st.sampled_from(["", "x", "y"]))
        shots.append(Shot(f"i{place}", f"p{patient}", label_of[patient], picture, file=file))
    return shots


def found(album: Album) -> list[Finding]:
    return [*exact_duplicates(album.entries, {}), *near_duplicates(album, {})]


def told(findings: list[Finding]) -> set[tuple[str, tuple[str, ...], str, tuple[tuple[str, object], ...]]]:
    return {(one.name, one.images, one.what, tuple(sorted(one.measures.items()))) for one in findings}


@given(cohorts(), st.randoms(use_true_random=False))
def test_the_order_of_images_does_not_matter(shots: list[Shot], random: object) -> None:
    mixed = list(shots)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert told(found(album_of(mixed))) == told(found(album_of(shots)))


@given(cohorts())
def test_an_exact_copy_is_always_found(shots: list[Shot]) -> None:
    copy = replace(shots[0], image_id="copy", patient_id="other", file="file of the copy")
    findings = exact_duplicates(album_of([*shots, copy]).entries, {})
    assert any({"copy", shots[0].image_id} <= set(one.images) and one.severity == "stop" for one in findings)


@given(cohorts(), pictures)
def test_pictures_of_a_third_patient_do_not_change_what_is_near(shots: list[Shot], picture: Picture) -> None:
    before = told(near_duplicates(album_of(shots), {}))
    after = near_duplicates(album_of([*shots, Shot("third", "third", "benign", picture)]), {})
    assert told([one for one in after if "third" not in one.patients]) == before


@given(cohorts())
def test_every_pair_of_copies_of_two_patients_is_told(shots: list[Shot]) -> None:
    told_pairs = [set(one.images) for one in found(album_of(shots))]
    for one in shots:
        for other in shots:
            same = np.array_equal(one.picture, other.picture)
            if same and one.patient_id != other.patient_id:
                assert any({one.image_id, other.image_id} <= images for images in told_pairs)


@given(st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.sets(st.text(max_size=5), min_size=1)), unique_by=repr))
def test_an_accepted_name_takes_out_exactly_its_finding(drawn: list[tuple[str, set[str]]]) -> None:
    findings = [Finding(kind, "stop", tuple(key), "", "") for kind, key in drawn]
    names = [one.name for one in findings]
    for one in findings:
        left = unaccepted(findings, [one.name])
        assert left == [other for other in findings if other.name != one.name]
        assert one.name == replace(one, key=tuple(reversed(one.key)), what="said otherwise").name
    distinct = {(kind, "\0".join(sorted(key))) for kind, key in drawn}
    assert len(set(names)) == len(distinct)


@given(pictures, st.floats(0.5, 1.0), st.integers(0, 40))
def test_brightness_and_contrast_hardly_change_a_hash(picture: Picture, gain: float, offset: int) -> None:
    changed = np.clip(picture * gain + offset, 0, 255).astype(np.uint8)
    (pair,) = close_pairs([hash_picture(picture), hash_picture(changed)], 256)
    assert pair.distance <= 40


@given(pictures)
def test_a_mirror_image_is_found_as_one(picture: Picture) -> None:
    (pair,) = close_pairs([hash_picture(picture), hash_picture(np.ascontiguousarray(picture[:, ::-1]))], 52)
    assert pair.mirrored and pair.distance <= 16


@given(pictures, pictures)
def test_a_pair_is_as_close_whichever_comes_first(one: Picture, other: Picture) -> None:
    hashes = [hash_picture(one), hash_picture((other * 0.9).astype(np.uint8))]
    there, back = close_pairs(hashes, 256), close_pairs(hashes[::-1], 256)
    assert [pair.distance for pair in there] == [pair.distance for pair in back]


@given(st.integers(1, 80), st.integers(1, 80), st.integers(0, 255))
@settings(max_examples=30)
def test_pictures_of_any_size_have_a_hash(height: int, width: int, grey: int) -> None:
    made = hash_picture(np.full((height, width, 3), grey, np.uint8))
    assert made.windows.shape == (len(WINDOWS), 4) and not made.structured
