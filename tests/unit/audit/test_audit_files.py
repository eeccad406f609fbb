"""What an audit writes and prints, when it certifies, and what a certificate depends on."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from unit.audit.audit_study import SIZE, Shot, album_of, cohort_of, scene, splits_of

import sonogrid.audit.illustrations as pictures
from sonogrid.audit.certificate import certificate, write_audit
from sonogrid.audit.findings import KINDS, Finding, findings_table, ordered, stale, unaccepted
from sonogrid.audit.look import audit_cohort
from sonogrid.audit.show import show

SHOTS = [
    Shot("a/1", "a", "benign", scene(1)),
    Shot("b/1", "b", "malignant", scene(1)),
    Shot("c/1", "c", "benign", scene(2)),
    Shot("d/1", "d", "malignant", scene(3)),
]
ALBUM = album_of(SHOTS)
CLASSES = ("benign", "malignant")


def finding(kind: str = "same_canvas_two_labels", *images: str, **more: object) -> Finding:
    values: dict = {"severity": "stop", "key": images, "what": "are alike", "remedy": "Take one out", "images": images}
    return Finding(kind, **(values | more))


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Path]:
    files = {name: tmp_path / "in" / name for name in ("patients.csv", "splits.csv")}
    (tmp_path / "in").mkdir()
    for name, path in files.items():
        path.write_text(name)
    return files


def written(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_whole_audit() -> None:
    found = audit_cohort(cohort_of(SHOTS), splits_of(SHOTS), ALBUM, ("benign", "malignant"), False, 0)
    stops = [one for one in found if one.severity == "stop"]
    assert [one.kind for one in found[: len(stops)]] == [one.kind for one in stops]
    assert stops[0].kind == "same_canvas_two_labels" and stops[0].images == ("a/1", "b/1")
    assert "patients_unknown" in {one.kind for one in found}


def test_pictures_of_a_modality_without_a_store_make_no_finding() -> None:
    shots = [Shot(f"{k}/b", f"p{k}", CLASSES[k // 4], scene(k), device="A", mm_per_pixel=0.1) for k in range(8)]
    # One class only, another device and, for one patient, another scale.
    others = [
        Shot(f"{k}/c", f"p{k}", "benign", scene(k), "cdfi", device="B", mm_per_pixel=5.0 if k else 0.1)
        for k in range(4)
    ]
    cohort, splits = cohort_of([*shots, *others]), splits_of(shots)
    assert audit_cohort(cohort, splits, album_of(shots), CLASSES, True, 0) == []
    kinds = {one.kind for one in audit_cohort(cohort, splits, album_of([*shots, *others]), CLASSES, True, 0)}
    assert {"fold_lacks_class", "modalities_differ_in_device", "modalities_differ_in_scale"} <= kinds


def test_findings_that_stop_leave_all_but_the_certificate(tmp_path: Path, inputs: dict[str, Path]) -> None:
    one = finding("same_canvas_two_labels", "a/1", "b/1")
    out = tmp_path / "audit"
    assert write_audit(out, [one], [one.name], ALBUM, inputs) == []
    assert written(out) == ["certificate.json", "findings.csv", f"pictures/{one.name}.png"]
    assert write_audit(out, [one], [], ALBUM, inputs) == [one]
    assert written(out) == ["findings.csv", f"pictures/{one.name}.png"]
    assert write_audit(out, [], [], ALBUM, inputs) == []
    assert written(out) == ["certificate.json", "findings.csv"]


def test_a_row_of_the_table(tmp_path: Path, inputs: dict[str, Path]) -> None:
    one = finding("same_canvas_two_labels", "a/1", "b/1", patients=("a", "b"), measures={"similarity": 1.0, "n": 2})
    write_audit(tmp_path / "audit", [one], [one.kind], ALBUM, inputs)
    with (tmp_path / "audit" / "findings.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row == {
        "name": one.name,
        "kind": "same_canvas_two_labels",
        "severity": "stop",
        "accepted": "True",
        "patients": "a; b",
        "images": "a/1; b/1",
        "what": "are alike",
        "remedy": "Take one out",
        "measures": "similarity=1.0; n=2",
    }


def test_a_certificate_is_the_same_bytes_and_changes_with_every_input(tmp_path: Path, inputs: dict[str, Path]) -> None:
    one, other = finding("same_canvas_two_labels", "a/1", "b/1"), finding("near_duplicate_two_labels", "c/1", "d/1")

    def text(findings: list[Finding], accept: list[str]) -> str:
        return json.dumps(certificate(findings, accept, inputs), sort_keys=True)

    first = text([one], [one.name])
    assert text([one], [one.name]) == first
    # A name that fits nothing changes nothing.
    assert text([one], [one.name, "near_duplicate_two_labels"]) == first
    assert text([one], [one.kind]) != first
    assert text([one, other], [one.name, other.name]) != first
    assert json.loads(first)["accepted"] == [
        {"name": one.name, "images": ["a/1", "b/1"], "patients": [], "what": "are alike"}
    ]
    inputs["splits.csv"].write_text("other folds")
    assert text([one], [one.name]) != first


def test_accepted_sha256_is_of_what_was_accepted_alone(inputs: dict[str, Path]) -> None:
    one = finding("same_canvas_two_labels", "a/1", "b/1", patients=("a", "b"))
    other = finding("near_duplicate_two_labels", "c/1", "d/1")

    def digest(findings: list[Finding], *accept: str) -> str:
        return str(certificate(findings, accept, inputs)["accepted_sha256"])

    first = digest([one], one.name)
    assert digest([one, finding("refused_files", severity="note", key=("x",))], one.name, "refused_files") == first
    assert digest([replace(one, what="otherwise", remedy="None", measures={"auc": 0.9})], one.name) == first
    assert digest([one], one.kind) == first
    assert digest([other, one], one.name, other.name) == digest([one, other], other.name, one.name) != first
    assert digest([replace(one, patients=("a", "c"))], one.name) != first
    assert digest([replace(one, key=("k",))], one.kind) != first
    assert digest([replace(one, images=("a/1", "b/2"))], one.kind) != first
    assert digest([]) != first
    inputs["splits.csv"].write_text("other folds")
    assert digest([one], one.name) == first


def test_what_accepts_what() -> None:
    one, other = finding("same_file_two_labels", "a/1", "b/1"), finding("same_file_two_labels", "a/1", "c/1")
    note = finding("refused_files", severity="note", key=("x",))
    assert unaccepted([one, other, note], []) == [one, other]
    assert unaccepted([one, other, note], [one.name]) == [other]
    assert unaccepted([one, other, note], ["same_file_two_labels"]) == []
    assert stale([one, note], [one.name, "same_file_two_labels", "refused_files", "gone-0", other.name]) == [
        "gone-0",
        other.name,
    ]


def test_names_of_findings_are_fixed() -> None:
    # The name stands in config files: sha256sum of the sorted key joined by NUL, first twelve digits.
    assert finding("same_file_two_labels", "b", "a").name == "same_file_two_labels-59b271ae1bbc"


def test_unknown_kinds_are_a_mistake_of_the_program() -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        finding("nonsense", "a")
    assert not any(one.startswith(other) for one in KINDS for other in KINDS if one != other)


def test_a_picture_shows_the_canvases_unchanged_in_place() -> None:
    one = finding("same_canvas_two_labels", "a/1", "c/1")
    page = pictures.side_by_side(one, ALBUM)
    enlarged = np.asarray(Image.fromarray(scene(2)).resize((pictures.SIDE,) * 2, Image.Resampling.BILINEAR))
    right = page[-pictures.SIDE - 6 : -6, -pictures.SIDE - 6 : -6]
    assert page.shape[1] == 2 * pictures.SIDE + 18
    assert np.array_equal(right, enlarged)


def test_pictures_are_bounded_and_old_ones_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MOST_PICTURES", 2)
    shots = [Shot(f"i{k:02}", f"p{k}", "benign", np.zeros((SIZE, SIZE, 3), np.uint8)) for k in range(12)]
    many = finding("same_canvas_between_patients", *(shot.image_id for shot in shots))
    others = [finding("near_duplicate_two_labels", f"i{k:02}", f"i{k + 1:02}") for k in range(3)]
    (tmp_path / "old.png").touch()
    assert len(pictures.write_pictures([many, *others], album_of(shots), tmp_path)) == 2
    assert written(tmp_path) == sorted(f"{one.name}.png" for one in (many, others[0]))
    assert pictures.side_by_side(many, album_of(shots)).shape[1] == 4 * (pictures.SIDE + 6) + 6


def test_a_picture_of_a_name_in_any_script(tmp_path: Path) -> None:
    shots = [Shot("患者/1", "p", "benign", scene(1)), Shot("ü" * 300, "q", "benign", scene(2))]
    one = finding("same_canvas_between_patients", *(shot.image_id for shot in shots))
    assert pictures.side_by_side(one, album_of(shots)).ndim == 3


def printed(findings: list[Finding], accept: list[str], folder: Path) -> str:
    console = Console(width=100, color_system=None, record=True, file=io.StringIO())
    show(ordered(findings), accept, folder, console)
    return console.export_text()


def test_what_is_printed(tmp_path: Path) -> None:
    stops = [finding("near_duplicate_between_patients", f"{k}/1", f"{k}/2\x1b[31m") for k in range(7)]
    known = finding("same_file_two_labels", "a/1", "b/1")
    note = finding("refused_files", severity="note", key=("x",), what="3 files could not be used")
    text = printed([note, *stops, known], [known.name, "near_duplicate_two_labels"], tmp_path)
    assert "near_duplicate_between_patients: changed copies or neighbouring frames under two patients (7)" in text
    assert "and 2 more" in text and "What to do: Take one out." in text
    assert "9 findings: 7 stop the workflow, 1 accepted, 1 notes." in text
    assert "audit.accept: near_duplicate_two_labels fits no finding of this audit." in text
    assert f"audit: {{accept: [{ordered(stops)[0].name}]}}" in text and "No certificate" in text
    assert "\x1b" not in text
    assert all(len(line) <= 100 for line in text.splitlines() if str(tmp_path) not in line)


def test_without_findings_the_certificate_is_named(tmp_path: Path) -> None:
    text = printed([], [], tmp_path)
    assert text.startswith("0 findings.") and f"Certificate: {tmp_path / 'certificate.json'}" in text
    assert len(findings_table([], [])) == 0
