"""The lock names exact versions of packages and nothing of the machine on which it was made."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
LOCK = [line for line in (ROOT / "envs/requirements.lock").read_text("utf-8").splitlines() if not line.startswith("#")]


def test_every_line_is_one_package_at_one_version():
    for line in LOCK:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+( ; sys_platform == \"linux\")?", line), line


def test_the_lock_meets_every_range_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    locked = dict(line.partition(" ;")[0].lower().replace("_", "-").split("==") for line in LOCK)
    for text in [*project["dependencies"], *extras["test"], *extras["lint"]]:
        wanted = Requirement(text)
        version = locked[wanted.name.lower().replace("_", "-")]
        assert wanted.specifier.contains(version), text
