"""Images of a store with their labels and patients, as the models take them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from sonogrid.stored import Store, canvas_sha256


class OtherCanvasError(Exception):
    """The canvas of an image of a store is not the one of its index."""

    def __init__(self, image_id: str, modality: str) -> None:
        super().__init__(image_id, modality)
        self.image_id, self.modality = image_id, modality


@dataclass(frozen=True)
class Examples:
    """Images with their labels and patients, row by row.

    `images` n x 3 x H x W uint8; `labels` n int64 in [0, classes); the rest n text.
    """

    images: Tensor
    labels: NDArray[np.int64]
    image_ids: NDArray[np.object_]
    patients: NDArray[np.object_]
    modalities: NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class FitParts:
    """What a model is fitted on, and what chooses the epoch."""

    train: Examples
    inner: Examples


@dataclass(frozen=True)
class FoldData:
    """What the examples of a cell are made from; `labels`: patient_id -> class name, `splits` as splits.csv."""

    store: Store
    modality: str
    labels: pd.Series[str]
    splits: pd.DataFrame
    fold: int
    classes: Sequence[str]
    input_size: int

    def members(self, part: str) -> pd.Series[str]:
        """Return the patients of one part (train, inner or test) of the fold."""
        return self.splits.loc[(self.splits["fold"] == self.fold) & (self.splits["part"] == part), "patient_id"]

    def examples(self, part: str) -> Examples:
        """Return the images of one part."""
        return examples_of(self.store, self.modality, self.labels[self.members(part)], self.classes, self.input_size)

    def parts(self) -> FitParts:
        """Return what the model is fitted on; the held-out part is not among it."""
        return FitParts(train=self.examples("train"), inner=self.examples("inner"))

    def predicted(self) -> dict[str, Examples]:
        """Return the parts that the fitted model predicts, by name, in the order of their rows."""
        return {part: self.examples(part) for part in ("inner", "test")}


def fold_data(recipe: Mapping[str, Any], store: Store, labels: pd.Series[str], splits: pd.DataFrame) -> FoldData:
    """Return what the examples of the cell of a recipe are made from."""
    fold, classes, input_size = recipe["fold"], recipe["classes"], recipe["input_size"]
    return FoldData(store, recipe["modality"], labels, splits, fold, classes, input_size)


def corpus_parts(
    recipe: Mapping[str, Any], stores: Mapping[str, Store], labels: pd.Series[str], inner: Collection[str]
) -> FitParts:
    """Return the corpus of a recipe as parts: patients in `inner` choose the epoch, all others are fitted on.

    `stores`: modality -> store, joined in the order of the recipe; `labels`: patient_id -> class name.
    """
    classes, input_size = recipe["classes"], recipe["input_size"]
    chosen = labels.index.isin(list(inner))
    train, held = (
        joined([examples_of(stores[name], name, part, classes, input_size) for name in recipe["modalities"]])
        for part in (labels[~chosen], labels[chosen])
    )
    return FitParts(train=train, inner=held)


def examples_of(
    store: Store, modality: str, labels: pd.Series[str], classes: Sequence[str], input_size: int
) -> Examples:
    """Return the images of a store whose patients are in `labels` (patient_id -> class name), at `input_size` pixels.

    Raise OtherCanvasError unless every canvas has the hash of the index: a recipe has the hash of the index alone.
    """
    index = store.index[store.index["patient_id"].isin(labels.index)]
    canvases = store.pixels[index["row"].to_numpy()]
    for canvas, known, image_id in zip(canvases, index["canvas_sha256"], index["image_id"], strict=True):
        if canvas_sha256(canvas) != known:
            raise OtherCanvasError(image_id, modality)
    images = torch.from_numpy(canvases).permute(0, 3, 1, 2)
    names = index["patient_id"].map(labels)
    return Examples(
        images=resized(images, input_size),
        labels=np.array([classes.index(name) for name in names], dtype=np.int64),
        image_ids=index["image_id"].to_numpy(object),
        patients=index["patient_id"].to_numpy(object),
        modalities=np.full(len(index), modality, dtype=object),
    )


def joined(parts: Sequence[Examples]) -> Examples:
    """Several sets of examples as one."""
    return Examples(
        images=torch.cat([part.images for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        image_ids=np.concatenate([part.image_ids for part in parts]),
        patients=np.concatenate([part.patients for part in parts]),
        modalities=np.concatenate([part.modalities for part in parts]),
    )


def resized(images: Tensor, size: int) -> Tensor:
    """uint8 images n x 3 x S x S at another side, antialiased; unchanged where the side is the same."""
    if images.shape[-1] == size:
        return images.contiguous()
    parts = [
        interpolate(part.float(), size=(size, size), mode="bilinear", antialias=True).round().clamp(0, 255)
        for part in images.split(64)
    ]
    return torch.cat([part.to(torch.uint8) for part in parts])


def balanced_weights(labels: NDArray[np.int64], patients: NDArray[np.object_]) -> NDArray[np.float32]:
    """Weight an image so that every class counts the same and, within it, every patient; the mean is 1."""
    weights = np.zeros(len(labels))
    present = np.unique(labels)
    for label in present:
        rows = np.flatnonzero(labels == label)
        _, inverse, counts = np.unique(patients[rows].astype(str), return_inverse=True, return_counts=True)
        weights[rows] = len(labels) / (len(present) * len(counts) * counts[inverse])
    return weights.astype(np.float32)
