"""Laws of the grid: the product of its axes, one folder and one random seed per cell, whatever the axes are."""

from itertools import product
from pathlib import Path

from dummy_study import make_grid
from hypothesis import given
from hypothesis import strategies as st

from sonogrid.grid import AXES, Cell, Grid
from sonogrid.layout import Layout

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,8}", fullmatch=True)
AXIS = st.lists(NAMES, min_size=1, max_size=4, unique=True).map(tuple)
SEEDS = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3, unique=True).map(tuple)
GRIDS = st.builds(make_grid, AXIS, AXIS, AXIS, st.integers(2, 5), SEEDS)


@given(GRIDS)
def test_cells_are_all_points_once(grid: Grid) -> None:
    cells = list(grid.cells())
    expected = {Cell(*point) for point in product(*(grid.axes[axis] for axis in AXES))}  # type: ignore[arg-type]
    assert len(cells) == len(grid) == len(expected)
    assert set(cells) == expected
    assert len(list(grid.configurations())) * len(grid.axes["seed"]) * grid.folds == len(grid)
    assert grid.describe().endswith(f" = {len(grid)} cells")


@given(GRIDS)
def test_no_two_cells_share_a_folder_or_a_random_seed_and_none_leaves_the_results(grid: Grid) -> None:
    layout, cells = Layout(Path("results")), list(grid.cells())
    folders = {layout.cell(cell) for cell in cells}
    assert len(folders) == len(cells)
    assert all(layout.results in folder.parents and ".." not in folder.parts for folder in folders)
    assert len({cell.random_seed(7) for cell in cells}) == len(cells)


@given(GRIDS)
def test_a_larger_grid_keeps_the_random_seeds_of_the_cells_it_had(grid: Grid) -> None:
    seeds = {cell: cell.random_seed(7) for cell in grid.cells()}
    more = {"backbone": "one more!", "seed": 2**32, "fold": grid.folds}
    larger = Grid({axis: (*values, *([more[axis]] if axis in more else [])) for axis, values in grid.axes.items()})
    found = {cell: cell.random_seed(7) for cell in larger.cells()}
    assert len(found) > len(seeds)
    assert all(found[cell] == seed for cell, seed in seeds.items())
