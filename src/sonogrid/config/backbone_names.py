"""Which backbones timm knows, found without importing timm (which takes seconds a process)."""

from __future__ import annotations

import difflib
import importlib.util
import re
from functools import cache
from pathlib import Path


@cache
def known_backbones() -> frozenset[str]:
    """Names of timm's registered models, read from its source; equal to timm.list_models(module='')."""
    spec = importlib.util.find_spec("timm")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("timm is not installed; run: pip install timm")
    registered = re.compile(r"^@register_model\s+def (\w+)\(", re.MULTILINE)
    sources = sorted((Path(spec.origin).parent / "models").glob("*.py"))
    return frozenset(name for source in sources for name in registered.findall(source.read_text("utf-8")))


@cache
def _tagged(architecture: str) -> list[str]:
    """Names with a tag of one architecture; imports timm, so only for names that have one."""
    import timm

    found: list[str] = timm.list_pretrained(f"{architecture}.*")
    return found


def check_backbone(name: str) -> str:
    """Return `name` if timm knows it; raise ValueError that offers the nearest names otherwise.

    A timm name may carry a pretrained tag after a dot, as resnet18.a1_in1k.
    """
    architecture, dot, _ = name.partition(".")
    if architecture in known_backbones():
        if not dot or name in _tagged(architecture):
            return name
        raise ValueError(f"timm has no such weights of {architecture}; it has: {', '.join(_tagged(architecture))}")
    near = difflib.get_close_matches(name, known_backbones(), n=3)
    offer = f"; nearest: {', '.join(near)}" if near else ""
    raise ValueError(f"timm has no backbone of this name{offer}")
