"""Two commits made ready to run: worktrees of their own, and an environment that their locks ask for."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sonogrid.perf.process import Side
from sonogrid.perf.verdicts import CouldNotMeasureError
from sonogrid.problems import Problem, Problems

LOCK = "envs/requirements.lock"
PROTOCOL_FILE = "src/sonogrid/perf/measuring.py"
"""A commit without it has no suite that can be compared."""
SPARE_BYTES = 500_000_000
ENVIRONMENT_BYTES = 9_000_000_000
"""Space that a new environment takes, torch and its libraries included."""
BUILD_SECONDS = 1800.0
SHOWN = 5


@contextmanager
def two_sides(base: str, head: str, repository: Path) -> Iterator[tuple[Side, Side]]:
    """Give both commits checked out below one temporary folder, which is gone afterwards whatever happens.

    The paths of both have the same length, as the length of a path moves what a process has in memory. Raise
    CouldNotMeasureError with every reason why they cannot be compared.
    """
    commits = _commits(base, head, repository)
    locks = {commit: _git(repository, "show", f"{commit}:{LOCK}") for commit in commits}
    missing = {lock for lock in locks.values() if not is_installed(lock)}
    _check_space(commits, len(missing), repository)
    folder = Path(tempfile.mkdtemp(prefix="sonogrid-perf-"))
    try:
        pythons = {lock: _environment(lock, folder, lock in missing) for lock in set(locks.values())}
        made = []
        for name, commit in zip(("base", "head"), commits, strict=True):
            tree = folder / name
            _git(repository, "worktree", "add", "--detach", "--quiet", str(tree), commit)
            made.append(Side(name, commit, tree, pythons[locks[commit]]))
        yield made[0], made[1]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        # Forgets worktrees whose folder is gone.
        subprocess.run(["git", "worktree", "prune"], cwd=repository, check=False, capture_output=True)


def remarks(base: Side, head: Side, repository: Path) -> list[str]:
    """Return what a reader should know about the two commits."""
    if base.commit == head.commit:
        return ["Both sides are the same commit: whatever is called slower is a false alarm."]
    ahead = int(_git(repository, "rev-list", "--count", f"{head.commit}..{base.commit}"))
    if ahead:
        counted = "1 commit" if ahead == 1 else f"{ahead} commits"
        text = f"base has {counted} that head lacks: what they made faster looks like a loss of head. "
        return [text + "To leave them out, compare with: git merge-base BASE HEAD"]
    return []


def _commits(base: str, head: str, repository: Path) -> tuple[str, str]:
    """Return both commits in full. Raise CouldNotMeasureError if one is unknown, has no suite, or lacks changes."""
    problems = Problems()
    if _tried(repository, "rev-parse", "--git-dir") is None:
        problems.add(str(repository), "is no git repository", "Call this in a clone of the project")
        raise CouldNotMeasureError(problems.found)
    shallow = _tried(repository, "rev-parse", "--is-shallow-repository") == "true"
    found: dict[str, str] = {}
    for name in dict.fromkeys((base, head)):
        # A name that begins with '-' would be a flag of git.
        commit = _tried(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        if commit is None:
            what = "is not in this shallow clone" if shallow else "is no commit of this repository"
            remedy = "Run: git fetch --unshallow origin" if shallow else "Run: git fetch origin, or name a commit"
            problems.add(name, what, f"{remedy} (in a CI job: fetch-depth: 0)" if shallow else remedy)
        elif _tried(repository, "cat-file", "-e", f"{commit}:{PROTOCOL_FILE}") is None:
            what = f"is from before the suite existed (it has no {PROTOCOL_FILE})"
            problems.add(
                name, what, f"Compare with a later commit; `git log --reverse {PROTOCOL_FILE}` begins with one"
            )
        elif _tried(repository, "cat-file", "-e", f"{commit}:{LOCK}") is None:
            problems.add(name, f"has no {LOCK}", "Compare with a commit that has one")
        else:
            found[name] = commit
    if found.get(head) == _tried(repository, "rev-parse", "HEAD"):
        changed = (_tried(repository, "status", "--porcelain") or "").splitlines()
        if changed:
            names = ", ".join(line[2:].strip() for line in changed[:SHOWN]) + (", ..." if len(changed) > SHOWN else "")
            problems.add(head, f"is not what lies here: {names}", "Commit or stash first; only commits are measured")
    if problems.found:
        raise CouldNotMeasureError(problems.found)
    return found[base], found[head]


def is_installed(lock: str) -> bool:
    """Whether this Python has exactly the versions that a lock file names."""
    for name, wanted in re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", lock, re.MULTILINE):
        try:
            if version(name) != wanted:
                return False
        except PackageNotFoundError:
            return False
    return True


def _environment(lock: str, folder: Path, build: bool) -> Path:
    """Return the Python for a lock: this one where it has what the lock names, otherwise that of a new environment."""
    if not build:
        return Path(sys.executable)
    digest = hashlib.sha256(lock.encode()).hexdigest()[:12]
    place, file = folder / f"environment-{digest}", folder / f"{digest}.lock"
    file.write_text(lock, encoding="utf-8")
    python = place / "bin" / "python"
    print(f"Building an environment for the lock {digest}: this takes minutes.", file=sys.stderr)
    _build([sys.executable, "-m", "venv", str(place)], digest)
    _build([str(python), "-m", "pip", "install", "--quiet", "--no-deps", "-r", str(file)], digest)
    return python


def _build(command: Sequence[str], digest: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=BUILD_SECONDS)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        remedy = f"Install {LOCK} of that commit by hand to see more, or compare commits whose lock installs"
        raise CouldNotMeasureError([Problem(f"{LOCK} {digest}", f"does not install ({said[0]})", remedy)])


def _check_space(commits: Sequence[str], environments: int, repository: Path) -> None:
    """Raise CouldNotMeasureError where the temporary folder has no space for trees and environments."""
    trees = sum(
        int(size)
        for commit in commits
        for size in re.findall(r"^\S+ blob \S+ +(\d+)\t", _git(repository, "ls-tree", "-r", "-l", commit), re.MULTILINE)
    )
    needed = trees + SPARE_BYTES + environments * ENVIRONMENT_BYTES
    place = Path(tempfile.gettempdir())
    free = shutil.disk_usage(place).free
    if free < needed:
        what = f"has {free / 1e9:.1f} GB of space, and {needed / 1e9:.1f} GB are needed"
        raise CouldNotMeasureError([Problem(str(place), what, "Free some, or set TMPDIR to a folder with space")])


def _tried(repository: Path, *arguments: str) -> str | None:
    """Return what git says, or None if it fails."""
    done = subprocess.run(["git", *arguments], cwd=repository, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def _git(repository: Path, *arguments: str) -> str:
    """Return what git says. Raise CouldNotMeasureError with its reason if it fails."""
    done = subprocess.run(["git", *arguments], cwd=repository, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        what = f"failed ({said[0]})"
        raise CouldNotMeasureError([Problem(f"git {arguments[0]}", what, "Run it by hand to see why")])
    return done.stdout
