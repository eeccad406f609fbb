"""The audit inside the workflow: it stops before anything trains, says what and how, and leaves its findings."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
from PIL import Image
from workspace import Workspace

from sonogrid.files import sha256


def audit(accept: list[str]) -> list[str]:
    """The audit of the smallest study as the rule runs it."""
    return ["sonogrid", "audit", "--study", Workspace(Path()).part("audit", {"audit": {"accept": accept}})]


def plant(workspace: Workspace) -> tuple[str, str]:
    """Give one patient the picture of another, moved by some pixels; their images."""
    manifest = pd.read_csv(workspace.results / "cohort" / "manifest.csv", keep_default_na=False)
    rows = manifest[manifest["modality"] == "bmode"].drop_duplicates("patient_id")
    one, other = rows.iloc[0], rows[rows["width"] == rows.iloc[0]["width"]].iloc[1]
    with Image.open(workspace.folder / one["path"]) as picture:
        moved = Image.new("RGB", picture.size)
        moved.paste(picture, (5, 3))
    # Removed first: a copied workspace shares its pictures with the one it was copied from.
    (workspace.folder / other["path"]).unlink()
    moved.save(workspace.folder / other["path"])
    return one["image_id"], other["image_id"]


def test_every_cell_rests_on_the_certificate(finished: Workspace) -> None:
    certificate = finished.results / "audit" / "certificate.json"
    for run in finished.results.glob("cells/**/run.json"):
        assert json.loads(run.read_text())["certificate"] == sha256(certificate)
    told = json.loads(certificate.read_text())
    assert {"patients.csv", "manifest.csv", "splits.csv", "images/bmode.csv"} <= set(told["inputs"])


def test_the_same_audit_gives_the_same_certificate(finished_copy: Workspace) -> None:
    certificate = finished_copy.results / "audit" / "certificate.json"
    before = certificate.read_bytes()
    assert finished_copy.run(audit(["fold_lacks_class"])).code == 0
    assert certificate.read_bytes() == before


def test_what_is_not_accepted_stops_and_stays_on_record(finished_copy: Workspace) -> None:
    folder = finished_copy.results / "audit"
    run = finished_copy.run(audit([]))
    assert run.code == 2
    assert "fold_lacks_class-" in run.text and "Traceback" not in run.text
    assert not (folder / "certificate.json").exists()
    findings = pd.read_csv(folder / "findings.csv")
    assert ((findings["kind"] == "fold_lacks_class") & (findings["severity"] == "stop")).any()


def test_a_copy_under_another_patient_stops_the_workflow_before_anything_trains(finished_copy: Workspace) -> None:
    images = plant(finished_copy)
    manifest = finished_copy.results / "cohort" / "manifest.csv"
    table = pd.read_csv(manifest, dtype=str, keep_default_na=False)
    table["sha256"] = [sha256(finished_copy.folder / path) for path in table["path"]]
    table.to_csv(manifest, index=False, lineterminator="\n")
    before = {path: path.stat().st_mtime_ns for path in Path(finished_copy.results / "cells").rglob("run.json")}
    run = finished_copy.snakemake("--cores", "2")
    assert run.code != 0
    found = pd.read_csv(finished_copy.results / "audit" / "findings.csv")
    copies = found[found["kind"].str.startswith("near_duplicate") & (found["severity"] == "stop")]
    (copy,) = copies.to_dict("records")
    assert all(image in copy["images"] for image in images)
    assert copy["name"] in run.text
    pictures = [path.name for path in (finished_copy.results / "audit" / "pictures").iterdir()]
    assert f"{copy['name']}.png" in pictures
    cells = finished_copy.results / "cells"
    assert {path: path.stat().st_mtime_ns for path in cells.rglob("run.json")} == before

    accepted = {"audit": {"accept": ["fold_lacks_class", copy["name"]]}}
    run = finished_copy.snakemake("--cores", "2", "results/audit/certificate.json", changes=accepted)
    assert run.code == 0, run.shown_in_full()
    told = json.loads((finished_copy.results / "audit" / "certificate.json").read_text())
    assert copy["name"] in [one["name"] for one in told["accepted"]]
