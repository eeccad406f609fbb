"""Facts of a cluster that no workflow can guess: slurm/site.yaml, the one place a user edits before the first run."""

from __future__ import annotations

import os
import re
import shlex
import sys
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from sonogrid.config.base import Section
from sonogrid.config.schema_mistakes import as_problems
from sonogrid.files import read_yaml
from sonogrid.problems import InputError

SITE_FILE = Path("slurm/site.yaml")
"""Where the profile and `sonogrid plan` look for it, below the folder of the repository."""
chosen_file: ContextVar[Path] = ContextVar("chosen_file", default=SITE_FILE)
"""The site file that a profile reads: another one while `sonogrid plan --site FILE` reads the profile."""
MODULE_SCRIPTS = ("/etc/profile.d/modules.sh", "/etc/profile.d/lmod.sh")
"""Files that define the shell function `module`, which /bin/sh does not inherit on some systems."""


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

    # The properties below are what slurm/profile.yaml passes on. Snakemake evaluates resources as Python, so a text
    # has quotes of its own; an empty text leaves the choice to the cluster.

    @property
    def gpu_partition(self) -> str:
        """Partition of jobs with a GPU; sbatch's own variable counts here, as the plugin always names a partition."""
        return self.partition or os.environ.get("SBATCH_PARTITION", "")

    @property
    def job_resources(self) -> dict[str, str | int]:
        """Resources of every job."""
        partition = self.cpu_partition or self.gpu_partition
        found: dict[str, str | int] = {"slurm_account": repr(self.account or ""), "slurm_partition": repr(partition)}
        return found | ({"qos": repr(self.qos)} if self.qos else {})

    @property
    def gpu_resources(self) -> dict[str, str | int]:
        """Resources of a job with a GPU, besides those of every job and of its rule."""
        found: dict[str, str | int] = {"slurm_partition": repr(self.gpu_partition)}
        if self.constraint:
            found["constraint"] = repr(self.constraint)
        if self.gres:
            return found | {"gres": repr(self.gres), "gpu": 0}
        return found | ({"gpu_model": repr(self.gpu_model)} if self.gpu_model else {})

    @property
    def fit_resources(self) -> dict[str, str | int]:
        """Resources of a job that keeps checkpoints, besides those of a job with a GPU."""
        return {"checkpoints": repr(str(self.scratch))} if self.scratch else {}

    @property
    def load_modules(self) -> str:
        """The shell command that a job runs first where the site has modules."""
        scripts = " || ".join(f"{{ [ -e {file} ] && . {file}; }}" for file in MODULE_SCRIPTS)
        return f"command -v module >/dev/null || {scripts}; module load {shlex.join(self.modules)}"


def load_site(path: Path | None = None) -> Site:
    """Return the facts in a site file (default: the chosen one). Raise InputError with all mistakes in it.

    Where SITE_FILE is missing, a site has no facts.
    """
    path = path or chosen_file.get()
    if path == SITE_FILE and not path.exists():
        return Site()
    content = read_yaml(path, "Correct it; see the examples in slurm/site.yaml")
    try:
        return Site.model_validate(content)
    except ValidationError as error:
        raise InputError(as_problems(error, Site, f"{path}, key", "see the examples in it")) from None


def site_or_exit() -> Site:
    """Return the facts for the profile; a mistake is printed without a traceback, exit code 2."""
    try:
        return load_site()
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
