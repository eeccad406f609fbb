"""Laws of the grid: the product of its axes, one folder and one seed a cell, whatever the axes are."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sonogrid.grid import Cell, Grid, cell_folder

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,8}", fullmatch=True)
AXIS = st.lists(NAMES, min_size=1, max_size=4, unique=True).map(tuple)
GRIDS = st.builds(Grid, AXIS, AXIS, AXIS, st.integers(2, 6))


@given(GRIDS)
def test_cells_are_all_points_once(grid: Grid) -> None:
    cells = list(grid.cells())
    expected = {
        Cell(backbone, init, modality, fold)
        for backbone in grid.backbones
        for init in grid.inits
        for modality in grid.modalities
        for fold in range(grid.folds)
    }
    assert len(cells) == len(grid) == len(expected)
    assert set(cells) == expected
    assert len(list(grid.configurations())) * grid.folds == len(grid)
    assert grid.describe().endswith(f" = {len(grid)} cells")


@given(GRIDS)
def test_no_two_cells_share_a_folder_or_a_seed_and_none_leaves_the_results(grid: Grid) -> None:
    results, cells = Path("results"), list(grid.cells())
    folders = {cell_folder(results, cell) for cell in cells}
    assert len(folders) == len(cells)
    assert all(results in folder.parents and ".." not in folder.parts for folder in folders)
    assert len({cell.seed(7) for cell in cells}) == len(cells)


@given(GRIDS)
def test_a_larger_grid_keeps_the_seeds_of_the_cells_it_had(grid: Grid) -> None:
    seeds = {cell: cell.seed(7) for cell in grid.cells()}
    larger = Grid((*grid.backbones, "one more!"), grid.inits, grid.modalities, grid.folds + 1)
    found = {cell: cell.seed(7) for cell in larger.cells()}
    assert all(found[cell] == seed for cell, seed in seeds.items())
