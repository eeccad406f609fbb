"""What a job of each rule asks of a cluster, before slurm/profile.yaml changes it, and how many jobs a study has."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from sonogrid.config.study import Study
from sonogrid.grid import Grid

LONGEST_MINUTES = 12 * 60
"""No first attempt asks for more: a cell cut short goes on from its last epoch, while long jobs wait in the queue."""


@dataclass(frozen=True)
class Request:
    """What the first attempt of a job asks for; of a later one, `mem_mb_at` and `minutes_at` say it."""

    gpus: int
    cpus: int
    mem_mb: int
    minutes: int
    jobs: int = 1
    """number of jobs of the rule in a run of the whole study; 0: none, or on demand only"""

    def mem_mb_at(self, attempt: int) -> int:
        """Return the memory in MB that an attempt asks for, from 1: attempt n asks for n times that of the first."""
        return self.mem_mb * attempt

    def minutes_at(self, attempt: int) -> int:
        """Return the minutes that an attempt asks for, from 1: attempt n asks for n times those of the first."""
        return self.minutes * attempt


LOCAL_RULES = ("all", "splits", "tables", "report")
"""Rules that run where Snakemake runs, so that they ask nothing of a cluster."""
RATES_MINUTES, RATES_MINUTES_EACH = 20, 3
"""Minutes of a job of `rates`: once, and for each setting that it measures."""


def requests(study: Study) -> dict[str, Request]:
    """Return what a job of every rule asks that is submitted to a cluster, by rule."""
    grid, corpora = Grid.of(study), study.corpora
    cells = grid.cells_in_a_job(study.cells_per_job)
    together = min(study.cells_per_gpu, cells)
    train_minutes = min(LONGEST_MINUTES, 60 * ceil(cells / together))
    backbones, inits, seeds = (len(grid.axes[axis]) for axis in ("backbone", "init", "seed"))
    stores = sum(len(corpus.modalities) for corpus in corpora.values())
    rates_minutes = RATES_MINUTES + RATES_MINUTES_EACH * backbones * (1 + len(corpora))
    return {
        "cohort": Request(0, 4, 8000, 8 * 60),
        "corpus_cohort": Request(0, 4, 8000, 8 * 60, jobs=len(corpora)),
        "images": Request(0, 2, 4000, 60, jobs=len(grid.axes["modality"])),
        "corpus_images": Request(0, 2, 4000, 60, jobs=stores),
        "audit": Request(0, 2, 8000, 120),
        "corpus_audit": Request(0, 2, 8000, 120, jobs=len(corpora)),
        "pretrain": Request(1, 1, 6000, 4 * 60, jobs=len(corpora) * backbones * seeds),
        "rates": Request(1, 1, 8000, rates_minutes, jobs=0),
        "train": Request(1, together, 4000 + 2000 * together, train_minutes, jobs=len(grid) // cells),
        "evaluate": Request(0, 1, 8000, 60),
        "explain": Request(1, 1, 6000, 60, jobs=backbones * inits),
        "figures": Request(0, 1, 4000, 30),
    }
