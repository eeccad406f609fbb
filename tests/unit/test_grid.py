from pathlib import Path

import pytest

from sonogrid.grid import Cell, Grid, cell_folder, checkpoints_of, derive_seed

GRID = Grid(("a", "b"), ("scratch", "pretrained"), ("bmode", "cdfi"), 3)


def test_cells_are_the_product_of_the_axes():
    cells = list(GRID.cells())
    assert len(cells) == len(set(cells)) == len(GRID) == 2 * 2 * 2 * 3
    assert {(cell.backbone, cell.init, cell.modality) for cell in cells} == {
        (one.backbone, one.init, one.modality) for one in GRID.configurations()
    }


def test_every_cell_has_a_folder_of_its_own():
    folders = {cell_folder(Path("results"), cell) for cell in GRID.cells()}
    assert len(folders) == len(GRID)
    assert Path("results/cells/a/scratch/bmode/fold0") in folders


def test_seeds_depend_on_identity_alone_and_differ_between_cells():
    seeds = [cell.seed(7) for cell in GRID.cells()]
    assert len(set(seeds)) == len(seeds)
    assert Cell("b", "scratch", "cdfi", 2).seed(7) == seeds[list(GRID.cells()).index(Cell("b", "scratch", "cdfi", 2))]
    assert Cell("b", "scratch", "cdfi", 2).seed(8) not in seeds


def test_seed_is_the_first_63_bits_of_the_sha256_of_the_identity():
    # printf '7/x' | sha256sum | head -c 16, read as a hexadecimal number and shifted right by one bit
    assert derive_seed(7, "x") == int("c66d3d929fda37d5", 16) >> 1


def test_description_counts_the_cells():
    assert GRID.describe() == "2 backbones x 2 inits x 2 modalities x 3 folds = 24 cells"


@pytest.mark.parametrize("parts", [("ab", "c"), ("a", "bc")])
def test_identity_is_not_ambiguous(parts):
    assert derive_seed(1, *parts) != derive_seed(1, "abc")


def test_description_of_an_axis_of_one():
    assert Grid(("a",), ("b",), ("c",), 5).describe() == "1 backbone x 1 init x 1 modality x 5 folds = 5 cells"


def test_a_scratch_folder_is_shared_by_studies_without_harm(tmp_path):
    one, two = (checkpoints_of(tmp_path / name, tmp_path / "scratch") for name in ("one", "two"))
    assert one != two and one.parent == two.parent == tmp_path / "scratch"
    assert checkpoints_of(tmp_path / "one", tmp_path / "one" / "checkpoints") == tmp_path / "one" / "checkpoints"
