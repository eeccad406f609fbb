"""Colour maps by which scanners show stiffness and flow: those of the simulated scanners, and well-known ones."""

from __future__ import annotations

from types import MappingProxyType

from sonogrid.cohort.phantom import colour_maps
from sonogrid.cohort.phantom.colour_maps import colours

STIFFNESS_MAPS = MappingProxyType(
    {
        **colour_maps.STIFFNESS_MAPS,
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
        **colour_maps.FLOW_MAPS,
        # Blue away, red towards, lighter with speed.
        "red_blue": colours("80c0ff 0000ff 000000 ff0000 ffc080"),
        # Power Doppler has no direction: its low end is black.
        "power": colours("000000 5a0000 c81e00 ff8c00 ffff64"),
    }
)
"""Flow from fastest away to fastest towards the probe; the darkest place means no flow."""
