"""The command line: one subcommand per stage. Parse, read, call, write."""

from __future__ import annotations

import argparse
import math
import signal
import sys
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import sonogrid
from sonogrid import stages
from sonogrid.cluster.site import SITE_FILE
from sonogrid.config.base import is_name
from sonogrid.config.modalities import MODALITIES
from sonogrid.config.needs import Parts, of_corpus, parse_part
from sonogrid.config.study import Study
from sonogrid.grid import AXES, CONFIGURATION, NUMBERED, Grid
from sonogrid.layout import refuse_former_results
from sonogrid.perf.choices import INSTRUCTIONS, MARGIN, MINUTES, SAID, SUITES, Exit
from sonogrid.problems import InputError, Problems
from sonogrid.stages import checked_study

EPILOG = """\
examples:
  sonogrid check --config config.yaml studies/busbra.yaml
  sonogrid plan --check
  sonogrid train --backbone test_resnet --init scratch --modality bmode --seed 0 --fold 0 1 2
  sonogrid perf compare main HEAD

A stage reads the configuration (--config, default config.yaml) and finds its files below the results folder.
Snakemake calls these commands with --study -, the part of the configuration that a stage depends on, as JSON
on standard input; `snakemake -n -p` prints each with all its flags.
Exit codes: 0 done, 1 a failure of the program, 2 a mistake in the input, 130 Ctrl-C, 143 SIGTERM.
"""
CONFIG = [Path("config.yaml")]

AXIS_HELP = {
    "backbone": "a timm name",
    "init": "a name of the section `inits`",
    "seed": "a value of grid.seeds",
    "fold": "from 0 to splits.folds - 1",
}

Commands = Any
"""What add_subparsers returns: argparse has no public name for its type."""


class Tee:
    """Writes to a log and to the stream that was there before: for what must be seen in both places."""

    def __init__(self, *streams: TextIO) -> None:
        self.streams = streams

    def write(self, text: str) -> None:
        """Write the text to every stream."""
        for stream in self.streams:
            stream.write(text)
            stream.flush()


def parser() -> argparse.ArgumentParser:
    """Return the whole command line."""
    root = argparse.ArgumentParser(
        prog="sonogrid",
        description=f"The whole grid {' x '.join(AXES)} on multimodal ultrasound, stage by stage.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=f"sonogrid {sonogrid.__version__}")
    root.add_argument("--log", type=Path, help="write progress to this file; failures are shown as well")
    commands = root.add_subparsers(title="stages, in running order", metavar="STAGE", required=True)
    for add_stages in (_add_configuration, _add_data, _add_fitting, _add_results, _add_perf):
        add_stages(commands)
    return root


def _command(commands: Commands, run: Callable[..., None], text: str) -> argparse.ArgumentParser:
    name = run.__name__.replace("_", "-")
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + "."
    )
    command.set_defaults(run=run)
    return command


def _stage(commands: Commands, run: Callable[[Study, argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
    """Add a command that takes a study: all stages have these flags, and find their files by layout.py."""
    command = _command(commands, run, text)
    study = command.add_mutually_exclusive_group()
    _config(study)
    study.add_argument(
        "--study",
        metavar="JSON",
        help="what rules pass: the keys that this stage depends on; '-' reads them from standard input",
    )
    command.set_defaults(run=lambda options: run(_study(run.__name__, options), options))
    return command


def _study(stage: str, options: argparse.Namespace) -> Study:
    """Return the keys that a stage depends on: as given, or from the configuration files.

    Raise InputError for values of axes that the study does not have, and for results of a former version.
    """
    init = getattr(options, "corpus", None)
    if options.study is not None:
        # One argument of a command has at most 128 KiB on Linux, so rules write the part to standard input.
        piped = sys.stdin.buffer.read() if options.study == "-" and sys.stdin is not None else b""
        part = parse_part(piped if options.study == "-" else options.study)
        refuse_former_results(part.results)
        _refuse_values(options, _values_of_part(part))
        return part
    study = checked_study(options)
    _refuse_values(options, _values_of_study(stage, study, init))
    if stage == "audit" and init is None:
        # By hand: of the cohort and of all corpora.
        return study
    given = {axis: _listed(getattr(options, axis, None)) for axis in CONFIGURATION}
    return parse_part(Parts(study).json(of_corpus(stage, init), **(given | ({"init": [init]} if init else {}))))


def _values_of_study(stage: str, study: Study, corpus: str | None) -> dict[str, Collection[str | int]]:
    """Return what each flag may be, by flag."""
    known: dict[str, Collection[str | int]] = {**Grid.of(study).axes, "corpus": tuple(study.corpora)}
    if stage == "pretrain":
        known["init"] = known["corpus"]
    if stage == "images" and (corpus is None or corpus in study.corpora):
        known["modality"] = study.cohort_of(corpus).modalities
    return known


def _values_of_part(part: Study) -> dict[str, Collection[str | int]]:
    """Return what flags may be, by flag, where only a part of the study is given."""
    inits = tuple(getattr(part, "inits", ()))
    return {"modality": tuple(MODALITIES)} | ({"init": inits, "corpus": inits} if inits else {})


def _refuse_values(options: argparse.Namespace, known: Mapping[str, Collection[str | int]]) -> None:
    """Raise InputError with every value of a flag that is not known, is no name, or is given twice."""
    problems = Problems()
    for flag in (*AXES, "corpus"):
        values = _listed(getattr(options, flag, None))
        for value in dict.fromkeys(values):
            if flag in known and value not in known[flag]:
                remedy = f"Choose from: {', '.join(map(str, known[flag])) or 'none'}"
                problems.add(f"--{flag}", f"{value!r} is not in the configuration", remedy)
            elif not is_name(str(value)):
                problems.add(f"--{flag}", f"{value!r} is no name", "Use letters, digits, '_', '.' and '-'")
            if values.count(value) > 1:
                problems.add(f"--{flag}", f"{value!r} is given twice", "Give each value once")
    problems.raise_if_any()


def _listed(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _config(command: Any) -> None:
    text = "configuration files, later ones override earlier ones (default config.yaml)"
    command.add_argument("--config", type=Path, nargs="+", default=CONFIG, metavar="FILE", help=text)


def _add_configuration(commands: Commands) -> None:
    _config(_command(commands, stages.check, "check a configuration and print its grid"))
    plan = _command(commands, stages.plan, "show what a study will ask of a cluster and cost, before it starts")
    _config(plan)
    plan.add_argument("--site", type=Path, default=SITE_FILE, help=f"facts of the cluster (default {SITE_FILE})")
    plan.add_argument("--jobs", type=_count, help="jobs in the queue at a time (default: as the profile says)")
    plan.add_argument("--check", action="store_true", help="ask the cluster whether all is right; exit code 2 if not")
    _command(commands, stages.schema, "print the JSON schema of config.yaml")


def _add_data(commands: Commands) -> None:
    cohort = _stage(commands, stages.cohort, "read or simulate patients and pictures into one manifest")
    images = _stage(commands, stages.images, "build the memory-mapped store of one modality")
    _axis(images, "modality")
    _stage(commands, stages.splits, "divide patients into folds and parts")
    audit = _stage(commands, stages.audit, "look for what could make a result untrue; certify what may be trained on")
    for command in (cohort, images, audit):
        command.add_argument("--corpus", metavar="INIT", help="take the corpus of this init, not the study's cohort")
        command.add_argument("--workers", type=_count, default=1, help="parallel workers (default 1)")


def _add_fitting(commands: Commands) -> None:
    pretrain = _stage(commands, stages.pretrain, "train one backbone on a corpus")
    for axis in ("init", "backbone", "seed"):
        _axis(pretrain, axis)
    rates = _stage(commands, stages.rates, "measure how fast the backbones of a study train on this machine")
    rates.add_argument("--seconds", type=float, default=20.0, help="for each setting (default 20)")
    train = _stage(commands, stages.train, "train and predict cells of the grid: every combination of the values given")
    for axis in AXES:
        _axis(train, axis, nargs="+")
    train.add_argument("--together", type=_count, default=1, help="cells trained at the same time (default 1)")
    for command in (pretrain, train):
        text = "folder for the states of unfinished fits (default: checkpoints/ below the results)"
        command.add_argument("--checkpoints", type=Path, help=text)
    for command in (pretrain, rates, train):
        command.add_argument("--threads", type=_count, default=1, help="CPU threads of a fit (default 1)")


def _add_results(commands: Commands) -> None:
    _stage(commands, stages.evaluate, "score every cell from its predictions")
    explain = _stage(commands, stages.explain, "draw the Grad-CAM panel of one backbone and init")
    for axis in ("backbone", "init"):
        _axis(explain, axis)
    _stage(commands, stages.tables, "write the tables as CSV, Markdown, LaTeX and HTML")
    _stage(commands, stages.figures, "draw the figures in every format of the configuration")
    _stage(commands, stages.report, "write the self-contained report.html")


PERF_EPILOG = f"""\
examples:
  sonogrid perf compare main
  sonogrid perf compare v0.2.0 main --suite full --minutes 300 --margin 0.1

exit codes, of which the first that applies is used:
{"".join(f"  {code.value}  {SAID[code]}{chr(10)}" for code in Exit)}
docs/performance.md has what each verdict means and what to do about it.
"""


def _add_perf(commands: Commands) -> None:
    text = "compare the speed of two commits of this repository"
    perf = commands.add_parser("perf", help=text, description=text[0].upper() + text[1:] + ".")
    compare = _command(
        perf.add_subparsers(title="commands", metavar="COMMAND", required=True),
        stages.compare,
        "report for every benchmark whether HEAD is slower than BASE, from processes of both in turn",
    )
    compare.epilog, compare.formatter_class = PERF_EPILOG, argparse.RawDescriptionHelpFormatter
    compare.add_argument("base", metavar="BASE", help="baseline commit, for example main")
    compare.add_argument("head", metavar="HEAD", nargs="?", default="HEAD", help="commit that is judged (default HEAD)")
    compare.add_argument("--suite", choices=SUITES, default="fast", help="benchmarks (default fast)")
    compare.add_argument(
        "--margin", type=_share, default=MARGIN, help="largest loss that is tolerated, as a share (default %(default)s)"
    )
    compare.add_argument(
        "--minutes",
        type=_positive,
        default=MINUTES,
        help="start no pair of processes that would end later; 16 pairs are always run (default %(default)g)",
    )
    compare.add_argument("--seed", type=_number, help="draws which side of a pair runs first (default: drawn)")
    text = "count the instructions of losses by perf if it works (auto, default), by valgrind (an hour each), or not"
    compare.add_argument("--instructions", choices=INSTRUCTIONS, default="auto", help=text)
    compare.add_argument("--no-laws", action="store_true", help="leave out the laws of tests/property")
    compare.add_argument("--out", type=Path, default=Path(".benchmarks"), help="folder of compare.json and compare.md")
    compare.add_argument("--planted", default="", help=argparse.SUPPRESS)


def _axis(command: argparse.ArgumentParser, axis: str, nargs: str | None = None) -> None:
    kind = _number if axis in NUMBERED else str
    command.add_argument(f"--{axis}", type=kind, nargs=nargs, required=True, help=AXIS_HELP.get(axis, axis))


def _whole_number(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"must be a whole number from {least}, not {text!r}")
    return int(text)


def _real_number(text: str, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number <= most:
        raise argparse.ArgumentTypeError(f"must be a number above 0 and at most {most:g}, not {text!r}")
    return number


_share, _positive = partial(_real_number, most=1), partial(_real_number, most=1e6)
_number, _count = partial(_whole_number, least=0), partial(_whole_number, least=1)


@contextmanager
def _logged(log: Path | None) -> Iterator[TextIO]:
    """Send progress to the log, if there is one; gives the stream on which a failure is told."""
    if log is None:
        yield sys.stderr
        return
    log.parent.mkdir(parents=True, exist_ok=True)
    terminal = sys.stderr
    with log.open("w", encoding="utf-8") as file, redirect_stderr(file):
        yield Tee(file, terminal)  # type: ignore[misc]


class Terminated(BaseException):
    """SIGTERM or SIGHUP came: what a cluster sends before it kills, or a terminal that closes."""


def _raise_terminated(signum: int, frame: object) -> None:
    raise Terminated


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one stage; returns the exit code."""
    options = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _raise_terminated)
    # Not under nohup, which has it ignored.
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, _raise_terminated)
    try:
        with _logged(options.log) as failures:
            return _run(options, failures)
    except OSError as error:
        return _refuse_file(error, sys.stderr)


def _run(options: argparse.Namespace, failures: TextIO) -> int:
    try:
        options.run(options)
    except InputError as error:
        print(error, file=failures)
        return error.exit_code
    except OSError as error:
        return _refuse_file(error, failures)
    except KeyboardInterrupt:
        print("Interrupted; nothing half-written was left.", file=failures)
        return 130
    except Terminated:
        print("Ended from outside; nothing half-written was left.", file=failures)
        return 143
    except Exception:  # noqa: BLE001 - the last place that can put a traceback into the log
        traceback.print_exc(file=failures)
        return 1
    return 0


def _refuse_file(error: OSError, failures: TextIO) -> int:
    """Tell which file could not be read or written, and what to do; a traceback where no file is known."""
    if error.filename is None:
        traceback.print_exception(error, file=failures)
        return 1
    reason = error.strerror or type(error).__name__
    print(f"{error.filename}: {reason}. Check that it exists, is writable and has space.", file=failures)
    return 2


if __name__ == "__main__":
    sys.exit(main())
