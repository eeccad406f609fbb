"""Gather what a Grad-CAM panel shows: out-of-fold model, held-out image, map and lesion outline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from sonogrid.cohort.manifest import load
from sonogrid.cohort.picture_files import open_mask
from sonogrid.config.study import Study
from sonogrid.console import Advance
from sonogrid.evaluation.predictions import read_predictions
from sonogrid.grid import Cell
from sonogrid.images.framing import SCAN
from sonogrid.images.geometry import letterbox_mask
from sonogrid.images.store import Store, open_store
from sonogrid.layout import Layout
from sonogrid.reporting.gradcam import Panel, chosen_examples, grad_cam, share_in_lesion
from sonogrid.training.backbones import best_device, build_model, load_weights
from sonogrid.training.examples import resized

Panels = dict[tuple[str, float, str], Panel]


def make_panels(study: Study, backbone: str, init: str, advance: Advance) -> tuple[Panels, pd.DataFrame, bool]:
    """Panels of a backbone and init by (class, quantile, modality), a table that lists them, whether simulated."""
    results, panels, listed = study.results, Panels(), []
    cohort = load(results / "cohort")
    masks = cohort.images.set_index("image_id")["mask_path"].fillna("")
    for modality in study.grid.modalities:
        cells = [Cell(backbone, init, modality, study.grid.seeds[0], fold) for fold in range(study.splits.folds)]
        store = open_store(*(results / "images" / f"{modality}.{kind}" for kind in ("npy", "csv")))
        chosen = chosen_examples(_held_out(results, cells), study.cohort.classes, study.explain.quantiles)
        for row in chosen.to_dict("records"):
            cell = cells[int(row["fold"])]
            line = store.index.set_index("image_id").loc[row["image_id"]]
            panel = _panel(study, results, cell, row, store, line, masks[row["image_id"]])
            panels[row["label"], row["quantile"], modality] = panel
            listed.append(_listed(cell, row, panel))
            advance(modality)
    return panels, pd.DataFrame(listed), bool(cohort.patients["simulated"].any())


def _held_out(results: Path, cells: list[Cell]) -> pd.DataFrame:
    rows = pd.concat([read_predictions(Layout(results).cell_predictions(cell)) for cell in cells])
    return rows[rows["part"] == "test"].reset_index(drop=True)


def _panel(
    study: Study, results: Path, cell: Cell, row: Mapping[Any, Any], store: Store, line: Any, mask: str
) -> Panel:
    size = study.images.input_size.get(cell.backbone, study.images.size)
    classes = study.cohort.classes
    model = load_weights(build_model(cell.backbone, len(classes), size), Layout(results).model(cell)).to(best_device())
    canvas = np.array(store.pixels[int(line["row"])])
    image = resized(torch.from_numpy(canvas).permute(2, 0, 1)[None], size)[0]
    return Panel(
        canvas=image.permute(1, 2, 0).numpy(),
        heat=grad_cam(model, image, classes.index(row["label"])),
        lesion=_lesion(mask, line, size),
        p_true=float(row["p_true"]),
        predicted=str(row["predicted"]),
    )


def _lesion(mask: str, line: Any, size: int) -> NDArray[np.bool_] | None:
    if not mask:
        return None
    left, top, right, bottom = (int(line[side]) for side in SCAN)
    return letterbox_mask(open_mask(Path(mask))[top:bottom, left:right], size, line["scale_x"] / line["scale_y"])


def _listed(cell: Cell, row: Mapping[Any, Any], panel: Panel) -> dict[str, Any]:
    return {
        "backbone": cell.backbone,
        "init": cell.init,
        "modality": cell.modality,
        "fold": cell.fold,
        "label": row["label"],
        "quantile": row["quantile"],
        "image_id": row["image_id"],
        "patient_id": row["patient_id"],
        "p_true": panel.p_true,
        "predicted": panel.predicted,
        "share_in_lesion": share_in_lesion(panel.heat, panel.lesion),
        "lesion_area": float(panel.lesion.mean()) if panel.lesion is not None else float("nan"),
    }
