"""The modalities: one row each, from which every other place takes them.

Functions of later rooms are named here and looked up there: `Measurement.decode` in images/colour.py, `drawing` in
cohort/phantom/exposure.py. Rulings on transforms are in augment_contract.py; a modality without one has none allowed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal


@dataclass(frozen=True)
class Measurement:
    """What the colours of a modality can be decoded to by a colour bar."""

    name: str
    """value of the config key images.MODALITY"""
    channels: str
    """what the three channels of a decoded canvas hold"""
    decode: str
    """function of images/colour.py: view, colours -> channels"""


@dataclass(frozen=True)
class ModalityRow:
    """One modality, as every room sees it."""

    name: str
    """as in config keys, columns and paths"""
    title: str
    """as in tables and figures"""
    stream: int | None = None
    """number of its random streams in the simulator; None: derived from the name, so that it redraws no other"""
    colours: str = ""
    """what its colours mean; '' where they mean nothing"""
    recolour: bool = False
    """whether a transform may change grey levels and colours"""
    measurement: Measurement | None = None
    """what its colours can be decoded to; None: nothing"""
    view: Literal["grey", "coloured"] = "coloured"
    """which view of a dual view shows it"""
    drawing: str | None = None
    """function of the simulator that adds its signs; None: drawn like B-mode"""

    @property
    def stream_number(self) -> int:
        """Number of its random streams: a small one, or 31 bits of a hash of the name with the highest bit set."""
        if self.stream is not None:
            return self.stream
        return int.from_bytes(hashlib.sha256(self.name.encode()).digest()[:4]) | 0x80000000

    @property
    def pixel_facts(self) -> tuple[str, ...]:
        """What of the row decides a look or a canvas."""
        measured = () if self.measurement is None else (self.measurement.name, self.measurement.decode)
        return (self.name, self.view, *measured)


STIFFNESS = Measurement("stiffness", "stiffness, colour box, grey below", "stiffness_channels")
VELOCITY = Measurement("velocity", "flow towards, flow away, grey", "velocity_channels")

_ROWS = (
    ModalityRow(name="bmode", title="B-mode", stream=0, recolour=True, view="grey"),
    ModalityRow(
        name="cdfi",
        title="CDFI",
        stream=1,
        colours="direction and speed of flow",
        measurement=VELOCITY,
        drawing="flow",
    ),
    ModalityRow(
        name="elastography",
        title="Elastography",
        stream=2,
        colours="stiffness",
        measurement=STIFFNESS,
        drawing="stiffness",
    ),
)

MODALITIES = MappingProxyType({row.name: row for row in _ROWS})
"""Name -> row, in the order of tables and figures."""
MEASUREMENTS = MappingProxyType({row.measurement.name: row for row in _ROWS if row.measurement is not None})
"""Name of a measurement -> the row of its modality."""


def title(modality: str) -> str:
    """Return how tables and figures call a modality; a name that is not in the table stays as it is."""
    return MODALITIES[modality].title if modality in MODALITIES else modality
