# Needs: config. Makes: the validated study, its grid and layout, and the names that rules share.
import re
import sys
from itertools import product
from pathlib import Path

from snakemake.exceptions import WorkflowError

from sonogrid.cluster.head import start_head
from sonogrid.cluster.requests import requests
from sonogrid.cluster.snakemake_patches import apply_patches
from sonogrid.config.load import load_study
from sonogrid.config.modalities import MODALITIES
from sonogrid.config.needs import Parts
from sonogrid.grid import AXES, CONFIGURATION, Grid
from sonogrid.layout import (
    ANY_PRETRAINING,
    CELL_FILES,
    PRETRAINED_FILES,
    Layout,
    axis_folder,
    first_weights,
    refuse_former_results,
)
from sonogrid.problems import InputError
from sonogrid.reporting import exhibits

if not Path("config.yaml").is_file():
    raise WorkflowError("There is no config.yaml here. Run in the folder of the repository, or add --directory FOLDER.")
# Raised here, as Snakemake lists the files that an error passes through.
try:
    STUDY = load_study(config)
except InputError as error:
    raise WorkflowError(f"The configuration has {len(error.problems)} mistake(s):\n{error}") from None
try:
    refuse_former_results(STUDY.results)
    apply_patches(workflow.is_main_process)
except InputError as error:
    raise WorkflowError(str(error)) from None

GRID, LAYOUT, PARTS, REQUESTS = Grid.of(STUDY), Layout(STUDY.results), Parts(STUDY), requests(STUDY)
CORPUS = LAYOUT.corpus("{init}")
# A job of `train` is a box of the grid: all values of the axes inside, one wildcard for each axis outside. Files of it
# are patterns: Snakemake fills those in several times faster than it calls functions, which shows at 12,000 cells.
JOB = GRID.job(STUDY.cells_per_job)
BOX = {axis: list(dict.fromkeys(getattr(cell, axis) for cell in JOB)) for axis in AXES}
JOB_NAME = [axis_folder(axis, wildcard) for axis in AXES if BOX[axis] == [wildcard := f"{{{axis}}}"]] or ["all"]


def values(axis, wildcards):
    """The values of an axis that a job is about."""
    return [wildcards.get(axis)] if axis in wildcards.keys() else [str(value) for value in BOX[axis]]


def part(stage):
    """The keys of the config that a job of a stage depends on, as JSON; a function, as JSON has braces."""
    return lambda wildcards: PARTS.json(stage, **{axis: values(axis, wildcards) for axis in CONFIGURATION})


def stores(places, modalities):
    """Arrays and indexes of modalities."""
    return [path for modality in modalities for path in (places.store(modality), places.index(modality))]


def shown(listed):
    """The files of exhibits that people look at, with captions for `snakemake --report`, which rule report writes."""
    named = [{"category": exhibit.category, "labels": exhibit.labels} for exhibit in listed]
    files = [(exhibit.files(STUDY)[0], exhibit.caption_file(STUDY).absolute()) for exhibit in listed]
    return [report(file, caption, **names) for (file, caption), names in zip(files, named)]


if workflow.is_main_process:
    print(f"Study {STUDY.study}: {GRID.describe()}", file=sys.stderr)
# A corpus may have modalities that the grid does not have.
KNOWN = GRID.axes | {"modality": tuple(MODALITIES)}


wildcard_constraints:
    **{axis: "|".join(re.escape(str(value)) for value in KNOWN[axis]) for axis in AXES},
