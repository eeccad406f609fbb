"""Facts of a cluster that no workflow can guess: slurm/site.yaml, the one place a user edits before the first run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from sonogrid.config.base import Section
from sonogrid.config.load import as_problems
from sonogrid.files import read_yaml
from sonogrid.problems import InputError

SITE_FILE = Path("slurm/site.yaml")
"""Where the profile and `sonogrid plan` look for it, below the folder of the repository."""


def _word(value: str) -> str:
    # These words become part of a command line on the cluster.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.,:+/@=-]*", value):
        raise ValueError("must be one word of letters, digits and _ . , : + / @ = -")
    return value


def _folder(value: Path) -> Path:
    if not value.is_absolute() or not re.fullmatch(r"[A-Za-z0-9_.,:+/@=-]+", str(value)):
        raise ValueError("must be an absolute path of letters, digits and _ . , : + / @ = -")
    return value


def _gpu_model(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.]+", value):
        raise ValueError(
            "must be letters, digits, '_' and '.' (Snakemake's plugin takes no '-': use constraint and gres: gpu:1)"
        )
    return value


def _gres(value: str) -> str:
    # What the SLURM plugin of Snakemake takes.
    if not re.fullmatch(r"[A-Za-z0-9_]+(:[A-Za-z0-9_.]+)?(:[0-9]+)?", value):
        raise ValueError("must be NAME:COUNT or NAME:MODEL:COUNT without '-', as gpu:1, gpu:a100:1 or shard:1")
    return value


def _constraint(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_(\[!][A-Za-z0-9_.,:&|*!()\[\]-]*", value):
        raise ValueError("must be features of nodes as `sbatch -C` takes them, without spaces")
    return value


def _listed(value: Any) -> Any:
    return () if value is None else (value,) if isinstance(value, str) else value


Word = Annotated[str, AfterValidator(_word)]
GpuModel = Annotated[str, AfterValidator(_gpu_model)]
Gres = Annotated[str, AfterValidator(_gres)]


class Site(Section):
    """Facts of a cluster; each may be left out where the site has a default."""

    account: Word | None = Field(None, description="who pays")
    partition: Word | None = Field(None, description="partition of the jobs that want a GPU")
    cpu_partition: Word | None = Field(None, description="partition of all other jobs; default: the one above")
    qos: Word | None = Field(None, description="quality of service")
    constraint: Annotated[str, AfterValidator(_constraint)] | None = Field(
        None, description="feature that nodes of GPU jobs must have"
    )
    gpu_model: GpuModel | None = Field(None, description="GPU model, as `--gpus=MODEL:1` wants it")
    gres: Gres | None = Field(None, description="what a GPU job asks by --gres instead of --gpus=1")
    modules: Annotated[tuple[Word, ...], BeforeValidator(_listed)] = Field(
        (), description="modules that a job loads first"
    )
    scratch: Annotated[Path, AfterValidator(_folder)] | None = Field(
        None, description="folder for checkpoints that every node sees; default: checkpoints/ below the results"
    )

    @property
    def gpu_flag(self) -> str:
        """The flag by which a job asks for its GPU."""
        if self.gres is not None:
            return f"--gres={self.gres}"
        return f"--gpus={self.gpu_model}:1" if self.gpu_model else "--gpus=1"


def load_site(path: Path = SITE_FILE) -> Site:
    """Read a site file; where the usual one is missing, a site has no facts. Raises InputError with all mistakes."""
    if path == SITE_FILE and not path.exists():
        return Site()
    content = read_yaml(path, "Correct it; see the examples in slurm/site.yaml")
    try:
        return Site.model_validate(content)
    except ValidationError as error:
        raise InputError(as_problems(error, Site, f"{path}, key", "see the examples in it")) from None
