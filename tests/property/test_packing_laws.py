"""Laws of packing cells into jobs: every cell is in one job, no job is larger than allowed."""

from __future__ import annotations

from dataclasses import asdict
from itertools import product
from math import prod

from dummy_study import make_grid
from hypothesis import assume, given
from hypothesis import strategies as st

from sonogrid.grid import AXES, Cell, Grid

grids = st.builds(
    make_grid,
    backbones=st.integers(1, 5).map(lambda n: tuple(f"backbone{k}" for k in range(n))),
    inits=st.integers(1, 3).map(lambda n: tuple(f"init{k}" for k in range(n))),
    modalities=st.integers(1, 3).map(lambda n: ("bmode", "cdfi", "elastography")[:n]),
    folds=st.integers(2, 6),
    seeds=st.integers(1, 3).map(lambda n: tuple(range(n))),
)


def jobs_of(grid: Grid, cells_per_job: int) -> list[list[Cell]]:
    """The cells of every job, as rules/train.smk makes them: the pattern of a job, each wildcard filled in."""
    pattern, inside = grid.job(cells_per_job), grid.packed_axes(cells_per_job)
    outside = [axis for axis in AXES if axis not in inside]
    filled = [dict(zip(outside, values, strict=True)) for values in product(*(grid.axes[axis] for axis in outside))]
    return [[Cell(**(asdict(cell) | values)) for cell in pattern] for values in filled]


@given(grids, st.integers(1, 400))
def test_every_cell_is_in_exactly_one_job(grid: Grid, cells_per_job: int) -> None:
    cells = [cell for job in jobs_of(grid, cells_per_job) for cell in job]
    assert sorted(cells) == sorted(grid.cells())


@given(grids, st.integers(1, 400))
def test_no_job_is_larger_than_allowed(grid: Grid, cells_per_job: int) -> None:
    sizes = {len(job) for job in jobs_of(grid, cells_per_job)}
    assert sizes == {grid.cells_in_a_job(cells_per_job)}
    assert max(sizes) <= cells_per_job


@given(grids, st.integers(1, 400))
def test_more_cells_allowed_are_never_fewer_in_a_job(grid: Grid, cells_per_job: int) -> None:
    assert grid.cells_in_a_job(cells_per_job) <= grid.cells_in_a_job(cells_per_job + 1)


@given(grids)
def test_default_is_a_job_for_each_cell_and_all_fit_into_one(grid: Grid) -> None:
    assert grid.packed_axes(1) == ()
    assert grid.cells_in_a_job(len(grid)) == len(grid)
    per_backbone = prod(len(values) for axis, values in grid.axes.items() if axis != "backbone")
    assert grid.cells_in_a_job(per_backbone) == per_backbone or len(grid.axes["backbone"]) == 1


@given(grids, st.integers(1, 400))
def test_a_new_backbone_changes_no_job(grid: Grid, cells_per_job: int) -> None:
    """Unless the whole grid was one job, so that those who add a backbone train that backbone only."""
    larger = Grid(dict(grid.axes) | {"backbone": (*grid.axes["backbone"], "new")})
    assume(cells_per_job < len(larger) and "backbone" not in grid.packed_axes(cells_per_job))
    kept = [sorted(job) for job in jobs_of(larger, cells_per_job) if job[0].backbone != "new"]
    assert sorted(kept) == sorted(sorted(job) for job in jobs_of(grid, cells_per_job))
