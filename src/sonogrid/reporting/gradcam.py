"""Grad-CAM panels: what the out-of-fold models look at, on held-out images chosen by a stated rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from sonogrid.config.modalities import title as modality_title
from sonogrid.config.study import Study
from sonogrid.evaluation.metrics import pool_patients
from sonogrid.training.backbones import metadata, normalise


@dataclass(frozen=True)
class MappedImage:
    """One image of a panel: the canvas (S x S x 3 uint8), its map (S x S in [0, 1]) and lesion mask, if known."""

    canvas: NDArray[np.uint8]
    heat: NDArray[np.float32]
    lesion: NDArray[np.bool_] | None
    p_true: float
    predicted: str


def chosen_examples(test: pd.DataFrame, classes: Sequence[str], quantiles: Sequence[float]) -> pd.DataFrame:
    """Return the held-out images that a panel shows: one row for each class and quantile.

    `test` holds the held-out predictions of one configuration. Per class, patients are ranked by the pooled
    probability of their true class (ties by patient_id) and the patient nearest to each quantile is taken; of the
    patient's images, the one whose own probability is nearest to the pooled one (ties by image_id). Columns:
    quantile, p_true (of the patient), predicted (its class), fold, image_id, patient_id, label.
    """
    pooled = pool_patients(test, classes)
    scores = pooled[[f"p_{name}" for name in classes]].to_numpy()
    true = [classes.index(name) for name in pooled["label"]]
    # Apart from the table, so that no class name can meet a column of ours.
    pooled = pooled[["patient_id", "label"]].assign(
        p_true=scores[range(len(scores)), true], predicted=scores.argmax(axis=1)
    )
    rows = []
    for name in classes:
        ranked = pooled[pooled["label"] == name].sort_values(["p_true", "patient_id"], ignore_index=True)
        for quantile in quantiles if len(ranked) else ():
            patient = ranked.iloc[round(quantile * (len(ranked) - 1))]
            own = test[test["patient_id"] == patient["patient_id"]]
            distance = (own[f"p_{name}"] - patient["p_true"]).abs().rename("distance")
            image = pd.concat([own, distance], axis=1).sort_values(["distance", "image_id"]).iloc[0]
            said = {"p_true": patient["p_true"], "predicted": classes[int(patient["predicted"])]}
            kept = image[["fold", "image_id", "patient_id", "label"]].to_dict()
            rows.append({"quantile": quantile, **said, **kept})
    return pd.DataFrame(rows)


def target_layer(model: nn.Module) -> str:
    """Return the name of the layer that Grad-CAM looks at: the last feature map that timm's metadata names.

    Where the head reads only the class token, the patch tokens of the last block get no gradient, so it is the
    block before.
    """
    info = metadata(model, "feature_info")
    modules = [stage["module"] for stage in getattr(info, "info", info)]
    only_class_token = metadata(model, "global_pool") == "token"
    return str(modules[-2] if only_class_token else modules[-1])


def feature_map(model: nn.Module, activations: Tensor) -> Tensor:
    """Return activations of the target layer as n x channels x rows x columns, however the backbone orders them."""
    if activations.ndim == 3:
        patches = activations[:, metadata(model, "num_prefix_tokens") or 0 :]
        rows, columns = metadata(model, "patch_embed").grid_size
        return patches.transpose(1, 2).reshape(len(patches), -1, rows, columns)
    if metadata(model, "output_fmt") == "NHWC":
        return activations.permute(0, 3, 1, 2)
    return activations


def grad_cam(model: nn.Module, image: Tensor, target: int) -> NDArray[np.float32]:
    """Return Grad-CAM of one uint8 image 3 x H x W for class `target`: H x W in [0, 1].

    Selvaraju et al. 2017, doi:10.1109/ICCV.2017.74. All 0 where nothing in the target layer raises the logit.
    """
    model.eval()
    layer = model.get_submodule(target_layer(model))

    def as_maps(activations: Tensor) -> Tensor:
        return feature_map(model, activations)

    with torch.enable_grad(), GradCAM(model, [layer], reshape_transform=as_maps) as cam:
        heat = cam(normalise(image[None], model), [ClassifierOutputTarget(target)])[0]
    return np.nan_to_num(np.asarray(heat, dtype=np.float32)).clip(0, 1)


def share_in_lesion(heat: NDArray[np.float32], lesion: NDArray[np.bool_] | None) -> float:
    """Return the share of the map's sum inside the lesion, in [0, 1]; NaN without a mask or with an empty map."""
    total = float(heat.sum())
    return float(heat[lesion].sum()) / total if lesion is not None and total > 0 else float("nan")


def panel_figure(images: Mapping[tuple[str, float, str], MappedImage], study: Study) -> Figure:
    """Return a figure with rows class and quantile, columns modality; each the image, and the image under its map.

    `images`: (class, quantile, modality) -> MappedImage. A white line is the outline of the lesion mask.
    """
    rows = [(name, quantile) for name in study.cohort.classes for quantile in study.explain.quantiles]
    modalities = study.grid.modalities
    size = (2.55 * len(modalities) + 0.5, 1.5 * len(rows) + 0.7)
    figure = Figure(figsize=(max(size[0], 3.6), size[1]))
    axes = figure.subplots(len(rows), 2 * len(modalities), squeeze=False)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    for row, (name, quantile) in enumerate(rows):
        label = name if len(study.explain.quantiles) == 1 else f"{name}\nquantile {quantile:g}"
        axes[row, 0].set_ylabel(label)
        for column, modality in enumerate(modalities):
            _draw(axes[row, 2 * column : 2 * column + 2], images.get((name, quantile, modality)))
    for column, modality in enumerate(modalities):
        axes[0, 2 * column].set_title(
            f"{modality_title(modality)}\n{axes[0, 2 * column].get_title()}".strip(), fontsize=7
        )
    return figure


def _draw(axes: NDArray[np.object_], image: MappedImage | None) -> None:
    plain, mapped = axes
    if image is None:
        plain.text(0.5, 0.5, "no patient", ha="center", va="center", color="0.4", transform=plain.transAxes)
        return
    plain.imshow(image.canvas)
    mapped.imshow(image.canvas.mean(axis=2), cmap="gray", vmin=0, vmax=255)
    mapped.imshow(image.heat, cmap="inferno", alpha=0.35 + 0.4 * image.heat, vmin=0, vmax=1)
    if image.lesion is not None and image.lesion.any():
        mapped.contour(image.lesion.astype(float), levels=[0.5], colors="white", linewidths=0.6)
    mapped.set_title(f"p = {image.p_true:.2f}, says {image.predicted}", fontsize=6)
