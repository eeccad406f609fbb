"""What a job of each rule asks of a cluster, before slurm/profile.yaml changes it: the one place for rules and plan."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from sonogrid.config.study import Study
from sonogrid.grid import Grid

LONGEST_MINUTES = 12 * 60
"""No first attempt asks for more: a cell cut short goes on from its last epoch, while long jobs wait in the queue."""


@dataclass(frozen=True)
class Request:
    """What the first attempt of a job asks for; attempt n asks for n times the memory and the time."""

    gpus: int
    cpus: int
    mem_mb: int
    minutes: int


LOCAL_RULES = ("all", "splits", "tables", "report")
"""Rules that run where Snakemake runs, so that they ask nothing of a cluster."""
RATES_MINUTES, RATES_MINUTES_EACH = 20, 3
"""Minutes of a job of `rates`: once, and for each setting that it measures."""


def requests(study: Study) -> dict[str, Request]:
    """Return what a job of every rule asks that is submitted to a cluster, by rule."""
    cells, together = Grid.of(study).cells_in_a_job(study.cells_per_job), study.cells_per_gpu
    together = min(together, cells)
    train_minutes = min(LONGEST_MINUTES, 60 * ceil(cells / together))
    settings = len(study.grid.backbones) * (1 + len(study.corpora))
    cohort, images, audit = Request(0, 4, 8000, 8 * 60), Request(0, 2, 4000, 60), Request(0, 2, 8000, 120)
    return {
        "cohort": cohort,
        "corpus_cohort": cohort,
        "images": images,
        "corpus_images": images,
        "audit": audit,
        "corpus_audit": audit,
        "pretrain": Request(1, 1, 6000, 4 * 60),
        "rates": Request(1, 1, 8000, RATES_MINUTES + RATES_MINUTES_EACH * settings),
        "train": Request(1, together, 4000 + 2000 * together, train_minutes),
        "evaluate": Request(0, 1, 8000, 60),
        "explain": Request(1, 1, 6000, 60),
        "figures": Request(0, 1, 4000, 30),
    }
