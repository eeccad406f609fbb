"""Laws of configuration files: they merge as `snakemake --configfile` merges them."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from snakemake.utils import update_config

from sonogrid.config.load import merge_configs

KEYS = st.sampled_from("abc")
LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)
TREES = st.recursive(st.dictionaries(KEYS, LEAVES), lambda below: st.dictionaries(KEYS, LEAVES | below), max_leaves=8)


@given(TREES, TREES)
def test_two_files_merge_as_in_snakemake(below: dict[str, Any], above: dict[str, Any]) -> None:
    expected = deepcopy(below)
    update_config(expected, deepcopy(above))
    assert merge_configs(below, above) == expected


@given(TREES, TREES)
def test_the_inputs_stay_as_they_are(below: dict[str, Any], above: dict[str, Any]) -> None:
    before = deepcopy((below, above))
    merge_configs(below, above)
    assert (below, above) == before


def test_mappings_merge_and_lists_are_replaced() -> None:
    below = {"grid": {"seeds": [0], "inits": ["scratch"]}, "seed": 1}
    assert merge_configs(below, {"grid": {"seeds": [1, 2]}}) == {
        "grid": {"seeds": [1, 2], "inits": ["scratch"]},
        "seed": 1,
    }
