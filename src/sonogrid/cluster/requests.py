"""What a job of each stage asks of a cluster: the one place for rules, plan and check."""

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


def requests(study: Study) -> dict[str, Request]:
    """The request of a job of every stage that is a job of its own, by stage."""
    cells, together = Grid.of(study).cells_in_a_job(study.cells_per_job), study.cells_per_gpu
    together = min(together, cells)
    train_minutes = min(LONGEST_MINUTES, 60 * ceil(cells / together))
    return {
        "cohort": Request(0, 4, 8000, 8 * 60),
        "images": Request(0, 2, 4000, 60),
        "audit": Request(0, 2, 8000, 120),
        "pretrain": Request(1, 1, 6000, 4 * 60),
        "train": Request(1, together, 4000 + 2000 * together, train_minutes),
        "evaluate": Request(0, 1, 8000, 60),
        "explain": Request(1, 1, 6000, 60),
        "figures": Request(0, 1, 4000, 30),
    }
