# Needs: config. Makes: the validated study, its grid, and the names that rules share.
import asyncio
import gc
import re
import sys
from itertools import product
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.jobs import Job
from snakemake.persistence import FileBackupMixin

from sonogrid.config.results import Explain
from sonogrid.config.load import load_study
from sonogrid.grid import CELL_FOLDER, CORPUS_FOLDER, PRETRAINED_FOLDER, Grid, cell_folder
from sonogrid.cluster.head import cancel_orphans, claim
from sonogrid.cluster.requests import requests
from sonogrid.cluster.preflight import quick_check
from sonogrid.problems import InputError
from sonogrid.cluster.site import load_site

if not Path("config.yaml").is_file():
    raise WorkflowError("There is no config.yaml here. Run in the folder of the repository, or add --directory FOLDER.")
try:
    STUDY = load_study(config)
except InputError as error:
    raise WorkflowError(f"The configuration has {len(error.problems)} mistake(s):\n{error}") from None

GRID = Grid.of(STUDY)
RESULTS = str(STUDY.results)
LOGS = f"{RESULTS}/logs"
BENCHMARKS = f"{RESULTS}/benchmarks"
CHECKPOINTS = f"{RESULTS}/checkpoints"
CELLS = f"{RESULTS}/{CELL_FOLDER}"
PRETRAINED = f"{RESULTS}/{PRETRAINED_FOLDER}"
CORPUS = f"{RESULTS}/{CORPUS_FOLDER}"
CEILING = [f"{RESULTS}/cohort/ceiling.json"] if STUDY.cohort.reader == "phantom" else []
CORPORA = {name: init for name, init in STUDY.inits.items() if init.source == "corpus"}
SIZES = {backbone: STUDY.images.input_size.get(backbone, STUDY.images.size) for backbone in GRID.backbones}
WEIGHTS = {
    (init, backbone): (
        [f"{PRETRAINED}/weights.safetensors".format(init=init, backbone=backbone)]
        if init in CORPORA
        else (
            [str(STUDY.inits[init].files[backbone])]
            if STUDY.inits[init].source == "timm" and backbone in STUDY.inits[init].files
            else []
        )
    )
    for init in GRID.inits
    for backbone in GRID.backbones
}
# A job of `train` is a box of the grid: all values of the axes inside, one wildcard for each axis outside. Values that
# need no function stand as patterns: Snakemake fills those in several times faster, which shows at 12,000 cells.
AXES = GRID.axes()
INSIDE = {axis: AXES[axis] for axis in GRID.packed_axes(STUDY.cells_per_job)}
BOX = {axis: list(INSIDE.get(axis, [f"{{{axis}}}"])) for axis in AXES}
OUTSIDE = [{"fold": "fold{fold}"}.get(axis, f"{{{axis}}}") for axis in AXES if axis not in INSIDE]
JOB = str(Path(*OUTSIDE)) if OUTSIDE else "all"
PAIRS = lambda wildcards: product(
    INSIDE.get("init", [wildcards.get("init")]), INSIDE.get("backbone", [wildcards.get("backbone")])
)
FIRST = {
    (init, backbone): f"{init}/{backbone}={STUDY.inits[init].source}" + "".join(f":{file}" for file in files)
    for (init, backbone), files in WEIGHTS.items()
}
REQUESTS = requests(STUDY)
PREDICTIONS = [f"{cell_folder(STUDY.results, cell)}/predictions.csv" for cell in GRID.cells()]
# Where a cell's run.json is, the rest of the cell is: so that a run notices when a cell is gone.
RUNS = [f"{cell_folder(STUDY.results, cell)}/run.json" for cell in GRID.cells()]
HAS_EFFECT = STUDY.statistics.pretraining_effect is not None
TABLES = ["ablation"] + ["pretraining_effect"] * HAS_EFFECT
FIGURES = {  # stem of the figure: stem of its caption in workflow/report
    "auc_heatmap": "auc_heatmap",
    "roc_curves": "roc_curves",
    "confusion_matrices": "confusion_matrices",
    "training_curves": "training_curves",
    "example_images": "example_images",
} | ({"pretraining_effect": "pretraining_effect_plot"} if HAS_EFFECT else {})
FIGURE_FILES = [f"{RESULTS}/figures/{figure}.{kind}" for figure in FIGURES for kind in ("png", "svg")]
PANEL_FILES = [
    f"{RESULTS}/figures/gradcam_{backbone}_{init}.{kind}"
    for backbone in GRID.backbones
    for init in GRID.inits
    for kind in ("png", "svg", "csv")
]
TABLE_FILES = [f"{RESULTS}/tables/{table}.{kind}" for table in TABLES for kind in ("csv", "md", "tex", "html")]
STORES = [f"{RESULTS}/images/{modality}.{kind}" for modality in GRID.modalities for kind in ("npy", "csv")]
SOURCES = STUDY.cohort.source_files
CORPUS_SOURCES = {name: init.corpus.source_files for name, init in CORPORA.items()}
OFFICIAL = [str(STUDY.splits.official.file)] if STUDY.splits.official else []
# JSON stands in `params:` behind a lambda: Snakemake would take a {name} in a plain string for a wildcard.
SCORED = STUDY.for_scores()

# Outputs of `train` are `update(...)` so that a job finds the cells that are done. Snakemake would bring back what was
# there before when such a job fails: cells of another configuration, which the next run would take for new ones.
FileBackupMixin.backup_output = lambda self, path: None
FileBackupMixin.restore_output = lambda self, path: False
if not workflow.is_main_process:
    # Only the head removes what a failed job made: on a node that was lost and is not, it may be another copy's.
    Job.cleanup = lambda self, skip_outputs: asyncio.sleep(0)

# Thousands of jobs are many objects that live to the end: looking through them for garbage took a seventh of a dry run.
gc.freeze()
gc.set_threshold(50_000, 20, 20)

if workflow.is_main_process:
    print(f"Study {STUDY.study}: {GRID.describe()}", file=sys.stderr)


wildcard_constraints:
    backbone="|".join(map(re.escape, GRID.backbones)),
    init="|".join(map(re.escape, GRID.inits)),
    modality="bmode|cdfi|elastography",
    fold=r"\d+",
