from dataclasses import fields

import pytest
from dummy_study import DEMO, make_grid, make_study

from sonogrid.grid import AXES, CONFIGURATION, NUMBERED, Cell, Grid, cohort_seed, derive_seed, plural

GRID = make_grid(("a", "b"), ("scratch", "pretrained"), ("bmode", "cdfi"), 3)


def test_axes_are_the_fields_of_a_cell():
    assert [field.name for field in fields(Cell)] == AXES == ["backbone", "init", "modality", "seed", "fold"]
    assert AXES[: len(CONFIGURATION)] == CONFIGURATION
    assert NUMBERED == ("seed", "fold")


def test_the_grid_of_a_study_has_every_list_of_its_section_and_the_folds():
    study = make_study(DEMO)
    grid = Grid.of(study)
    assert list(grid.axes) == AXES
    assert {axis: values for axis, values in grid.axes.items() if axis != "fold"} == {
        axis: getattr(study.grid, plural(axis)) for axis in AXES if axis != "fold"
    }
    assert grid.axes["fold"] == (0, 1, 2)


def test_cells_are_the_product_of_the_axes():
    cells = list(GRID.cells())
    assert len(cells) == len(set(cells)) == len(GRID) == 2 * 2 * 2 * 3
    assert {cell.configuration for cell in cells} == set(GRID.configurations())


def test_cohort_and_corpora_have_the_seeds_that_they_always_had():
    """Other seeds would be other simulated patients, and other numbers of every study."""
    assert cohort_seed(7) == derive_seed(7, "cohort", "study") == 7953479160605289641
    assert cohort_seed(7, "pretrained") == derive_seed(7, "cohort", "pretrained")
    assert len({cohort_seed(7), cohort_seed(7, "pretrained"), cohort_seed(7, "thyroid"), cohort_seed(8)}) == 4


def test_random_seeds_depend_on_identity_alone_and_differ_between_cells():
    seeds = [cell.random_seed(7) for cell in GRID.cells()]
    cell = Cell("b", "scratch", "cdfi", 0, 2)
    assert len(set(seeds)) == len(seeds)
    assert cell.random_seed(7) == seeds[list(GRID.cells()).index(cell)]
    assert cell.random_seed(8) not in seeds


def test_seed_0_is_the_seed_that_a_cell_had_before_there_were_seeds():
    # printf '7/b/scratch/cdfi/fold2' | sha256sum | head -c 16, read as hexadecimal and shifted right by one bit
    assert Cell("b", "scratch", "cdfi", 0, 2).random_seed(7) == int("0c9ae285f882dab2", 16) >> 1
    others = {Cell("b", "scratch", "cdfi", seed, 2).random_seed(7) for seed in range(5)}
    assert len(others) == 5


def test_seed_is_the_first_63_bits_of_the_sha256_of_the_identity():
    # printf '7/x' | sha256sum | head -c 16, read as a hexadecimal number and shifted right by one bit
    assert derive_seed(7, "x") == int("c66d3d929fda37d5", 16) >> 1


@pytest.mark.parametrize("parts", [("ab", "c"), ("a", "bc")])
def test_identity_is_not_ambiguous(parts):
    assert derive_seed(1, *parts) != derive_seed(1, "abc")


def test_description_counts_the_cells():
    assert GRID.describe() == "2 backbones x 2 inits x 2 modalities x 1 seed x 3 folds = 24 cells"
    grid = make_grid(("a",), ("b",), ("c",), 5, seeds=(0, 7))
    assert grid.describe() == "1 backbone x 1 init x 1 modality x 2 seeds x 5 folds = 10 cells"


def test_a_cell_is_named_with_the_axes_of_its_numbers():
    assert str(Cell("resnet18", "scratch", "cdfi", 1, 2)) == "cell resnet18 scratch cdfi seed 1 fold 2"
