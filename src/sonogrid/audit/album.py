"""The pictures that an audit compares: canvases without their letterbox, and whose they are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sonogrid.arrays import Box, Picture
from sonogrid.cohort.manifest import Cohort
from sonogrid.images.boxes import crop
from sonogrid.images.framing import SCAN
from sonogrid.stored import Store


@dataclass(frozen=True)
class Corpus:
    """A cohort that something is pre-trained on, and its stores by modality."""

    cohort: Cohort
    stores: Mapping[str, Store]


@dataclass(frozen=True)
class AlbumEntry:
    """A picture of the cohort (corpus '') or of the corpus of an init: identity, hashes, its row in a store, and
    where on the canvas it lies."""

    corpus: str
    image_id: str
    patient_id: str
    label: str
    modality: str
    sha256: str
    canvas_sha256: str
    row: int
    box: Box

    @property
    def image(self) -> str:
        """How findings name the picture: its id, with the init before it if it is of a corpus."""
        return self.image_id if not self.corpus else f"{self.corpus}:{self.image_id}"

    @property
    def patient(self) -> str:
        """How findings name its patient."""
        return self.patient_id if not self.corpus else f"{self.corpus}:{self.patient_id}"


@dataclass(frozen=True)
class Album:
    """All pictures by identity, in sorted order, so that nothing depends on the order of the stores.

    `decoded`: modalities whose canvases are measurements; their last channel is the grey level (images/colour.py).
    """

    entries: tuple[AlbumEntry, ...]
    stores: Mapping[tuple[str, str], Store]
    decoded: frozenset[str]

    def canvas(self, entry: AlbumEntry) -> Picture:
        """The canvas S x S x 3 of a picture, letterbox included."""
        canvas: Picture = self.stores[entry.corpus, entry.modality].pixels[entry.row]
        return canvas

    def content(self, entry: AlbumEntry) -> Picture:
        """The canvas without its letterbox; of a decoded modality the grey level in all channels.

        As red and green, measurements would show the colour box, which is alike in all pictures. Below an opaque
        overlay the grey level is 0: the first measurement stands there, or a blank box would be alike in all.
        """
        inside: Picture = crop(self.canvas(entry), entry.box)
        if entry.modality not in self.decoded:
            return inside
        grey = inside[..., 2:]
        return np.repeat(np.where(grey == 0, inside[..., :1], grey), 3, axis=2)


def content_box(line: Any) -> Box:
    """Where the scan area lies on its canvas, by the line of a store's index."""
    x0, y0, x1, y1 = (int(line[side]) for side in SCAN)
    wide, high = (max(1, round(length * line[scale])) for length, scale in ((x1 - x0, "scale_x"), (y1 - y0, "scale_y")))
    left, top = int(line["left"]), int(line["top"])
    return Box(left, top, left + wide, top + high)


def make_album(
    cohort: Cohort, stores: Mapping[str, Store], corpora: Mapping[str, Corpus], decoded: Collection[str]
) -> Album:
    """Gather the pictures of a cohort and of the corpora of its inits, by name of the init.

    `decoded`: modalities whose channels are measurements, in the cohort and the corpora alike.
    """
    entries: list[AlbumEntry] = []
    everything: dict[tuple[str, str], Store] = {}
    sources = {"": Corpus(cohort, stores), **corpora}
    for name, source in sources.items():
        labels: pd.Series[str] = source.cohort.patients.set_index("patient_id")["label"]
        for modality, store in source.stores.items():
            everything[name, modality] = store
            entries += [
                AlbumEntry(
                    corpus=name,
                    image_id=line["image_id"],
                    patient_id=line["patient_id"],
                    label=labels[line["patient_id"]],
                    modality=modality,
                    sha256=line["sha256"],
                    canvas_sha256=line["canvas_sha256"],
                    row=line["row"],
                    box=content_box(line),
                )
                for line in store.index.to_dict("records")
            ]
    return Album(tuple(sorted(entries, key=lambda one: (one.corpus, one.image_id))), everything, frozenset(decoded))
