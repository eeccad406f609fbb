"""Colour maps by which scanners show stiffness and flow, as colours along the bar from its low to its high end."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

Colours = NDArray[np.float32]
"""256 x 3, RGB in 0..255, from the low to the high end of a colour bar."""


def colours(stops: str) -> Colours:
    """256 colours through evenly spaced stops, written as RRGGBB words."""
    channels = np.array([list(bytes.fromhex(stop)) for stop in stops.split()], dtype=np.float32).T
    at = np.linspace(0, 1, channels.shape[1])
    fine = np.linspace(0, 1, 256)
    return np.stack([np.interp(fine, at, channel) for channel in channels], axis=1).astype(np.float32)


def inverted(bar: Colours) -> Colours:
    """The same bar for devices that put the other end on top: its low end becomes the high one."""
    return bar[::-1].copy()


STIFFNESS_MAPS = MappingProxyType(
    {
        # The simulated scanners.
        "simulated_north": colours("1414be 008cff 1ee1be 96eb3c ffd700 ff5f00 be0000"),
        "simulated_harbour": colours("1e288c 286ed7 46bee1 82d782 f0e146 eb8228 cd1e28"),
        "simulated_valley": colours("3c0096 003ceb 00bee6 00c846 d7eb00 ff9600 e10a0a"),
        # matplotlib's "jet" and "turbo" (3.10) sampled at nine and seventeen even places.
        "jet": colours("000080 0000ff 0080ff 16ffe1 7dff7a e4ff13 ff9400 ff1e00 800000"),
        "turbo": colours(
            "30123b 4040a2 466be3 4294ff 28bceb 18ddc2 32f298 6dfe62 a4fc3c "
            "cdec34 eecf3a fdac34 fb7e21 eb500e d02f05 a91601 7a0403"
        ),
        # Pure hues from blue over green to red at full saturation.
        "hue": colours("0000ff 00ffff 00ff00 ffff00 ff0000"),
    }
)
"""Stiffness from soft to hard: blue is soft and red is hard; `inverted` for devices that show it the other way."""

FLOW_MAPS = MappingProxyType(
    {
        "simulated_north": colours("96f5ff 145aff 00005a 000000 640000 ff280a ffeb5a"),
        "simulated_harbour": colours("3ce1cd 2882eb 141478 000000 780a0a eb500a fabe28"),
        "simulated_valley": colours("bec8ff 4646ff 1e006e 000000 6e001e ff143c ffaa96"),
        # Blue away, red towards, lighter with speed.
        "red_blue": colours("80c0ff 0000ff 000000 ff0000 ffc080"),
        # Power Doppler has no direction: its low end is black.
        "power": colours("000000 5a0000 c81e00 ff8c00 ffff64"),
    }
)
"""Flow from fastest away to fastest towards the probe; the darkest place means no flow."""
