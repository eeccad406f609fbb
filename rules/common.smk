# Needs: config. Makes: the validated study, its grid and layout, and the names that rules share.
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from sonogrid.cluster.requests import requests
from sonogrid.cluster.snakemake_patches import apply_patches
from sonogrid.config.load import load_study
from sonogrid.config.modalities import MODALITIES
from sonogrid.config.needs import Parts
from sonogrid.grid import AXES, CONFIGURATION, Grid
from sonogrid.layout import ANY_CELL, ANY_PRETRAINING, Layout, axis_folder, first_weights, refuse_former_results
from sonogrid.problems import InputError
from sonogrid.reporting import exhibits

if not Path("config.yaml").is_file():
    raise WorkflowError("There is no config.yaml here. Run in the folder of the repository, or add --directory FOLDER.")
try:
    STUDY = load_study(config)
    refuse_former_results(STUDY.results)
except InputError as error:
    raise WorkflowError(f"The configuration has {len(error.problems)} mistake(s):\n{error}") from None
apply_patches(workflow.is_main_process)

GRID, LAYOUT, PARTS = Grid.of(STUDY), Layout(STUDY.results), Parts(STUDY)
CORPUS = LAYOUT.corpus("{init}")
REQUESTS = requests(STUDY)
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


def stores(places, modalities, kinds=("store", "index")):
    """Arrays and indexes of modalities."""
    return [str(getattr(places, kind)(modality)) for modality in modalities for kind in kinds]


def shown(listed):
    """The files of exhibits that people look at, with captions for `snakemake --report`, which rule report writes."""
    captions = [exhibit.caption_file(STUDY).absolute() for exhibit in listed]
    named = [{"category": exhibit.category, "labels": exhibit.labels} for exhibit in listed]
    return [report(one.files(STUDY)[0], caption, **more) for one, caption, more in zip(listed, captions, named)]


if workflow.is_main_process:
    print(f"Study {STUDY.study}: {GRID.describe()}", file=sys.stderr)


# A corpus may have modalities that the grid has not.
KNOWN = GRID.axes | {"modality": tuple(MODALITIES)}


wildcard_constraints:
    **{axis: "|".join(re.escape(str(value)) for value in KNOWN[axis]) for axis in AXES},
