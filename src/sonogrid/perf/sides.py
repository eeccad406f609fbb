"""Two commits made ready to run: worktrees of their own, and an environment that their locks ask for."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import sonogrid
from sonogrid.perf.process import PASSED_ON, Side, run_command, temporary_tree, undisturbed
from sonogrid.perf.verdicts import CouldNotMeasureError
from sonogrid.problems import Problem, Problems

LOCK = "envs/requirements.lock"
PROTOCOL_FILE = "src/sonogrid/perf/measuring.py"
"""A commit without it has no suite that can be compared."""
SUITE_FILES = (
    *(PROTOCOL_FILE, "tests/benchmark", "tests/burned_in.py", "tests/dicoms.py", "tests/dummy_study.py"),
    *("tests/grids.py", "tests/unit/audit/audit_study.py"),
)
"""What decides what a benchmark measures, and how."""
NAMES = ("base", "head")
SPARE_BYTES = 500_000_000
ENVIRONMENT_BYTES = 9_000_000_000
"""Space that a new environment takes, torch and its libraries included."""
BUILD_SECONDS = 1800.0
GIT_SECONDS = 300.0
SHOWN = 5


@contextmanager
def two_sides(base: str, head: str, repository: Path, written: Sequence[Path] = ()) -> Iterator[tuple[Side, Side]]:
    """Check out both commits in a temporary folder and remove it on exit.

    The paths of both have the same length, as the length of a path moves what a process has in memory. Raise
    CouldNotMeasureError with every reason why they cannot be compared; files that the gate has `written` are none.
    """
    repository = top_of(repository)
    commits = _commits(base, head, repository, written)
    locks = {commit: _git(repository, "show", f"{commit}:{LOCK}") for commit in commits}
    missing = {lock for lock in locks.values() if not is_installed(lock)}
    _check_space(commits, len(missing), repository)
    with temporary_tree() as folder, _trees(folder, repository):
        pythons = {lock: _environment(lock, folder, lock in missing) for lock in set(locks.values())}
        made = []
        for name, commit in zip(NAMES, commits, strict=True):
            tree = folder / name
            _git(repository, "worktree", "add", "--detach", "--quiet", str(tree), commit)
            made.append(Side(name, commit, tree, pythons[locks[commit]]))
        yield made[0], made[1]


@contextmanager
def _trees(folder: Path, repository: Path) -> Iterator[None]:
    """Forget the worktrees of both sides in a folder when the block ends."""
    try:
        yield
    finally:
        with undisturbed():
            for name in NAMES:
                # Twice: a checkout that was interrupted is locked. Fails where there is no tree yet.
                _tried(repository, "worktree", "remove", "--force", "--force", str(folder / name))


def remarks(base: Side, head: Side, repository: Path) -> list[str]:
    """Return what a reader should know about the two commits. `repository` is the top of its tree."""
    if base.commit == head.commit:
        return ["Both sides are the same commit: whatever is called slower is a false alarm."]
    said = []
    changed = _git(repository, "diff", "--name-only", base.commit, head.commit, "--", *SUITE_FILES).splitlines()
    if changed:
        said.append(f"The suite itself differs: {', '.join(changed)}.")
    pins = _git(repository, "diff", "--unified=0", base.commit, head.commit, "--", LOCK)
    versions = [line for line in pins.splitlines() if re.match(r"[+-][A-Za-z0-9]", line)]
    if versions:
        said.append(f"The locks differ, so a loss may be that of a package: {', '.join(versions)}.")
    ahead = int(_git(repository, "rev-list", "--count", f"{head.commit}..{base.commit}"))
    if ahead:
        counted = "1 commit" if ahead == 1 else f"{ahead} commits"
        text = f"base has {counted} that head lacks: what they made faster looks like a loss of head. "
        said.append(text + "To leave them out, compare with: git merge-base BASE HEAD")
    return said


def top_of(folder: Path) -> Path:
    """Return the top of the git tree that a folder is in. Raise CouldNotMeasureError if it is in none."""
    top = _tried(folder, "rev-parse", "--show-toplevel") if shutil.which("git") else None
    if top is None:
        remedy = "Call this in a clone of the project, with git installed"
        raise CouldNotMeasureError([Problem(str(folder), "is not in a git repository", remedy)])
    return Path(top)


def _commits(base: str, head: str, repository: Path, written: Sequence[Path]) -> tuple[str, str]:
    """Return both commits in full. Raise CouldNotMeasureError if one is unknown, has no suite, or lacks changes."""
    problems = Problems()
    found = {name: _resolved_commit(name, repository, problems) for name in dict.fromkeys((base, head))}
    if found[head] is not None and found[head] == _tried(repository, "rev-parse", "HEAD"):
        _refuse_uncommitted(head, repository, written, problems)
    if problems.found:
        raise CouldNotMeasureError(problems.found)
    return str(found[base]), str(found[head])


def _resolved_commit(name: str, repository: Path, problems: Problems) -> str | None:
    """Return a commit in full; None, with a problem noted, if it is unknown or has no suite or lock."""
    # A name that begins with '-' would be a flag of git.
    commit = _tried(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if commit is None:
        shallow = _tried(repository, "rev-parse", "--is-shallow-repository") == "true"
        what = "is not in this shallow clone" if shallow else "is not a commit in this repository"
        remedy = "Run: git fetch --unshallow origin (in a CI job: fetch-depth: 0)"
        problems.add(name, what, remedy if shallow else "Run: git fetch origin, or name a commit")
        return None
    for file, what in ((PROTOCOL_FILE, "is from before the suite existed"), (LOCK, "cannot be installed")):
        if _tried(repository, "cat-file", "-e", f"{commit}:{file}") is None:
            remedy = f"Compare with a later commit; `git log --reverse {file}` begins with one"
            problems.add(name, f"{what} (it has no {file})", remedy)
            return None
    return commit


def _refuse_uncommitted(head: str, repository: Path, written: Sequence[Path], problems: Problems) -> None:
    """Note a problem if the tree has changes that its commit lacks; the gate's own output is none."""
    top = repository.resolve()
    inside = (path.resolve() for path in written if path.resolve().is_relative_to(top))
    left_out = [f":(exclude,literal){path.relative_to(top)}" for path in inside]
    changed = _git(repository, "status", "--porcelain", "--untracked-files=normal", "--", ".", *left_out).splitlines()
    if changed:
        names = ", ".join(line[2:].strip() for line in changed[:SHOWN]) + (", ..." if len(changed) > SHOWN else "")
        remedy = "Commit or stash them: only commits are measured"
        problems.add(head, f"lacks changes of this folder: {names}", remedy)


def is_installed(lock: str) -> bool:
    """Whether this Python has exactly the versions that a lock file names."""
    lines = (line.partition("#")[0].strip() for line in lock.splitlines())
    return all(_is_met(line) for line in lines if line and not line.startswith("-"))


def _is_met(line: str) -> bool:
    """Whether this Python has what one line of a lock asks for, or the line is for other machines."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        asked = Requirement(line)
        if asked.marker is not None and not asked.marker.evaluate():
            return True
        return asked.specifier.contains(version(asked.name), prereleases=True)
    except (InvalidRequirement, PackageNotFoundError):
        return False


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
    _name_package(place)
    return python


def _name_package(environment: Path) -> None:
    """Let an environment say that it has sonogrid, whose code is that of the tree: records ask for its version."""
    for packages in environment.glob("lib/python*/site-packages"):
        folder = packages / f"sonogrid-{sonogrid.__version__}.dist-info"
        folder.mkdir()
        text = f"Metadata-Version: 2.1\nName: sonogrid\nVersion: {sonogrid.__version__}\n"
        (folder / "METADATA").write_text(text, encoding="utf-8")


def _build(command: Sequence[str], digest: str) -> None:
    # A package of the lock may run code when it is installed: it sees what a side sees, and where pip finds packages.
    given = {
        name: value
        for name, value in os.environ.items()
        if name in PASSED_ON or name.startswith("PIP_") or name.lower().endswith("_proxy")
    }
    code, text = run_command(command, BUILD_SECONDS, environment=given)
    if code != 0:
        reason = "does not end" if code is None else f"exit code {code}"
        said = [line for line in text.splitlines() if line.strip()][-1:] or [reason]
        remedy = f"Install {LOCK} of that commit by hand to see more, or compare commits whose lock installs"
        raise CouldNotMeasureError([Problem(f"{LOCK} {digest}", f"does not install ({said[0]})", remedy)])


def _check_space(commits: Sequence[str], environments: int, repository: Path) -> None:
    """Raise CouldNotMeasureError where the temporary folder has no space for trees and environments."""
    trees = sum(
        int(size)
        for commit in commits
        for size in re.findall(
            r"^\S+ blob \S+ +(\d+)\t", _git(repository, "ls-tree", "-r", "-l", "--full-tree", commit), re.MULTILINE
        )
    )
    needed = trees + SPARE_BYTES + environments * ENVIRONMENT_BYTES
    place = Path(tempfile.gettempdir())
    free = shutil.disk_usage(place).free
    if free < needed:
        what = f"has {free / 1e9:.1f} GB of space, and {needed / 1e9:.1f} GB are needed"
        raise CouldNotMeasureError([Problem(str(place), what, "Free some, or set TMPDIR to a folder with space")])


def _tried(repository: Path, *arguments: str) -> str | None:
    """Return what git says, or None if it fails."""
    code, text = _run_git(repository, arguments)
    return text.strip() if code == 0 else None


def _git(repository: Path, *arguments: str) -> str:
    """Return what git says. Raise CouldNotMeasureError with its reason if it fails."""
    code, text = _run_git(repository, arguments)
    if code != 0:
        said = text.strip().splitlines()[-1:] or [f"exit code {code}"]
        what = f"failed ({said[0]})"
        raise CouldNotMeasureError([Problem(f"git {arguments[0]}", what, "Run it by hand to see why")])
    return text


def _run_git(repository: Path, arguments: Sequence[str]) -> tuple[int | None, str]:
    """Run git without hooks in a folder; return its exit code and output."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-c", f"core.hooksPath={os.devnull}", "-c", "advice.detachedHead=false", *arguments]
    return run_command(command, GIT_SECONDS, repository, own)
