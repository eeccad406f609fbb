"""Panels: each function takes a study, what was gathered of it, backbone and init, and returns a Figure and its table.

The Grad-CAM panel gathers, for each image that it shows, the model that has not seen it, the map and the lesion.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sonogrid.cohort.picture_files import open_mask
from sonogrid.config.study import Study
from sonogrid.console import Advance
from sonogrid.evaluation.predictions import read_predictions
from sonogrid.files import read_json
from sonogrid.fits.weights import load_weights
from sonogrid.grid import Cell, named
from sonogrid.images.framing import SCAN
from sonogrid.images.placed_mask import letterbox_mask
from sonogrid.layout import Layout
from sonogrid.reporting.gathered import Gathered
from sonogrid.reporting.gradcam import MappedImage, chosen_examples, grad_cam, panel_figure, share_in_lesion
from sonogrid.stored import Store
from sonogrid.training.backbones import best_device, build_model
from sonogrid.training.examples import resized


def gradcam_panel(
    study: Study, gathered: Gathered, backbone: str, init: str, advance: Advance
) -> tuple[Figure, pd.DataFrame]:
    """Return the Grad-CAM panel of a backbone and init, by the models of the first seed, and a row per image shown."""
    images, listed = dict[tuple[str, float, str], MappedImage](), []
    masks = gathered.manifest.set_index("image_id")["mask_path"]
    for modality in study.grid.modalities:
        cells = [Cell(backbone, init, modality, study.grid.seeds[0], fold) for fold in range(study.splits.folds)]
        store = gathered.store(modality)
        chosen = chosen_examples(_held_out(gathered.layout, cells), study.cohort.classes, study.explain.quantiles)
        for row in chosen.to_dict("records"):
            cell = cells[int(row["fold"])]
            line = store.index.set_index("image_id").loc[row["image_id"]]
            image = _mapped(gathered.layout, cell, row, store, line, masks[row["image_id"]])
            images[row["label"], row["quantile"], modality] = image
            listed.append(_listed(cell, row, image))
            advance(modality)
    return panel_figure(images, study), pd.DataFrame(listed)


def _held_out(layout: Layout, cells: list[Cell]) -> pd.DataFrame:
    rows = pd.concat([read_predictions(layout.cell_predictions(cell)) for cell in cells])
    return rows[rows["part"] == "test"].reset_index(drop=True)


def _mapped(layout: Layout, cell: Cell, row: Mapping[Any, Any], store: Store, line: Any, mask: str) -> MappedImage:
    record = read_json(layout.run(cell))
    classes, size = record["classes"], record["input_size"]
    model = load_weights(build_model(cell.backbone, len(classes), size), layout.model(cell)).to(best_device())
    canvas = np.array(store.pixels[int(line["row"])])
    image = resized(torch.from_numpy(canvas).permute(2, 0, 1)[None], size)[0]
    return MappedImage(
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


def _listed(cell: Cell, row: Mapping[Any, Any], image: MappedImage) -> dict[str, Any]:
    return dict(named(cell)) | {
        "label": row["label"],
        "quantile": row["quantile"],
        "image_id": row["image_id"],
        "patient_id": row["patient_id"],
        "p_true": image.p_true,
        "predicted": image.predicted,
        "share_in_lesion": share_in_lesion(image.heat, image.lesion),
        "lesion_area": float(image.lesion.mean()) if image.lesion is not None else float("nan"),
    }
