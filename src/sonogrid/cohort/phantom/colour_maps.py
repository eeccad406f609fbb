"""Colour maps by which the simulated scanners show stiffness and flow, from the low to the high end of the bar."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from sonogrid.arrays import Colours


def colours(stops: str) -> Colours:
    """256 colours through evenly spaced stops, written as RRGGBB words."""
    channels = np.array([list(bytes.fromhex(stop)) for stop in stops.split()], dtype=np.float32).T
    at = np.linspace(0, 1, channels.shape[1])
    fine = np.linspace(0, 1, 256)
    return np.stack([np.interp(fine, at, channel) for channel in channels], axis=1).astype(np.float32)


STIFFNESS_MAPS = MappingProxyType(
    {
        "simulated_north": colours("1414be 008cff 1ee1be 96eb3c ffd700 ff5f00 be0000"),
        "simulated_harbour": colours("1e288c 286ed7 46bee1 82d782 f0e146 eb8228 cd1e28"),
        "simulated_valley": colours("3c0096 003ceb 00bee6 00c846 d7eb00 ff9600 e10a0a"),
    }
)
"""Stiffness from soft to hard: blue is soft and red is hard."""

FLOW_MAPS = MappingProxyType(
    {
        "simulated_north": colours("96f5ff 145aff 00005a 000000 640000 ff280a ffeb5a"),
        "simulated_harbour": colours("3ce1cd 2882eb 141478 000000 780a0a eb500a fabe28"),
        "simulated_valley": colours("bec8ff 4646ff 1e006e 000000 6e001e ff143c ffaa96"),
    }
)
"""Flow from fastest away to fastest towards the probe; the darkest place means no flow."""
