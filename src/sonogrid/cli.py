"""The command line: one subcommand a stage. Parse, read, call, write."""

from __future__ import annotations

import argparse
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any, TextIO

import sonogrid
from sonogrid import stages
from sonogrid.cluster.site import SITE_FILE
from sonogrid.problems import InputError

EPILOG = """\
examples:
  sonogrid check --config config.yaml studies/busbra.yaml
  sonogrid plan --check
  sonogrid train --backbone resnet18 --init scratch --modality bmode --fold 0 1 2 ... --results results

Snakemake calls these commands; `snakemake -n -p` prints each with all its flags.
Exit codes: 0 done, 1 a failure of the program, 2 a mistake in the input, 130 Ctrl-C, 143 SIGTERM.
"""


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
    """The whole command line."""
    root = argparse.ArgumentParser(
        prog="sonogrid",
        description="The whole grid backbone x init x modality x fold on multimodal ultrasound, stage by stage.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=f"sonogrid {sonogrid.__version__}")
    root.add_argument("--log", type=Path, help="write progress to this file; failures are shown as well")
    commands = root.add_subparsers(title="stages, in running order", metavar="STAGE", required=True)
    for add_stages in (_add_configuration, _add_data, _add_fitting, _add_results):
        add_stages(commands)
    return root


def _stage(commands: Commands, run: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
    name = run.__name__.replace("_", "-")
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
    )
    command.set_defaults(run=run)
    return command


def _add_configuration(commands: Commands) -> None:
    check = _stage(commands, stages.check, "check a configuration and print its grid")
    check.add_argument("--config", type=Path, nargs="+", required=True, help="later files override earlier ones")
    plan = _stage(commands, stages.plan, "show what a study will ask of a cluster and cost, before it starts")
    plan.add_argument("--config", type=Path, nargs="+", default=[Path("config.yaml")], help="default config.yaml")
    plan.add_argument("--site", type=Path, default=SITE_FILE, help=f"facts of the cluster (default {SITE_FILE})")
    plan.add_argument("--jobs", type=_count, help="jobs in the queue at a time (default: as the profile says)")
    plan.add_argument("--check", action="store_true", help="ask the cluster whether all is right; exit code 2 if not")
    _stage(commands, stages.schema, "print the JSON schema of config.yaml")


def _add_data(commands: Commands) -> None:
    cohort = _stage(commands, stages.cohort, "read or simulate patients and pictures into one manifest")
    cohort.add_argument("--cohort", required=True, help="the `cohort` section of the config as JSON")
    cohort.add_argument("--name", default="study", help="whose cohort: the study's or a corpus's (default study)")
    _seed(cohort)
    _workers(cohort)
    _out(cohort, "folder for patients.csv and manifest.csv")

    images = _stage(commands, stages.images, "build the memory-mapped store of one modality")
    images.add_argument("--manifest", type=Path, required=True)
    images.add_argument("--modality", required=True)
    images.add_argument("--canvas", required=True, help="JSON: size, channels and layouts of this modality")
    _workers(images)
    images.add_argument("--store", type=Path, required=True, help="array to write (.npy)")
    images.add_argument("--index", type=Path, required=True, help="index to write (.csv)")

    splits = _stage(commands, stages.splits, "divide patients into folds and parts")
    splits.add_argument("--cohort", type=Path, required=True, help="folder of patients.csv and manifest.csv")
    splits.add_argument("--splits", required=True, help="the `splits` section of the config as JSON")
    _seed(splits)
    _out(splits, "splits.csv to write")

    audit = _stage(commands, stages.audit, "look for what could make a result untrue; certify what may be trained on")
    of = audit.add_mutually_exclusive_group()
    of.add_argument("--config", type=Path, nargs="+", default=[Path("config.yaml")], help="default config.yaml")
    of.add_argument("--request", help="what rules pass: one audit as JSON")
    _workers(audit)


def _add_fitting(commands: Commands) -> None:
    pretrain = _stage(commands, stages.pretrain, "train one backbone on a corpus")
    _identity(pretrain)
    pretrain.add_argument("--modalities", nargs="+", required=True, help="modalities of the corpus, one a store")
    pretrain.add_argument("--stores", type=Path, nargs="+", required=True)
    pretrain.add_argument("--indexes", type=Path, nargs="+", required=True)
    pretrain.add_argument("--inner-fraction", type=float, required=True, help="share of patients for epoch choice")
    _fitting(pretrain)

    rates = _stage(commands, stages.rates, "measure how fast the backbones of a study train on this machine")
    rates.add_argument("--study", required=True, help="the whole configuration as JSON")
    rates.add_argument("--seconds", type=float, default=20.0, help="for each setting (default 20)")
    rates.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    _out(rates, "rates.csv to write")

    train = _stage(commands, stages.train, "train and predict cells of the grid: every combination of the values given")
    _identity(train, nargs="+")
    train.add_argument("--modality", nargs="+", required=True)
    train.add_argument("--fold", type=int, nargs="+", required=True, help="from 0")
    train.add_argument("--splits", type=Path, required=True)
    train.add_argument("--stores", type=Path, nargs="+", required=True, help="one a modality (.npy)")
    train.add_argument("--indexes", type=Path, nargs="+", required=True, help="one a modality (.csv)")
    train.add_argument(
        "--first-weights",
        nargs="+",
        required=True,
        metavar="INIT/BACKBONE=SOURCE[:FILE]",
        help="for each init and backbone: random, corpus with its file, or timm with or without one",
    )
    train.add_argument("--together", type=int, default=1, help="cells trained at the same time (default 1)")
    _fitting(train, nargs="+")


def _add_results(commands: Commands) -> None:
    evaluate = _stage(commands, stages.evaluate, "score every cell from its predictions")
    explain = _stage(commands, stages.explain, "draw the Grad-CAM panel of one backbone and init")
    explain.add_argument("--backbone", required=True)
    explain.add_argument("--init", required=True)
    tables = _stage(commands, stages.tables, "write the tables as CSV, Markdown, LaTeX and HTML")
    figures = _stage(commands, stages.figures, "draw the figures as PNG and SVG")
    report = _stage(commands, stages.report, "write the self-contained report.html")
    for command in (evaluate, explain, tables, figures, report):
        command.add_argument("--study", required=True, help="the whole configuration as JSON")


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def _seed(command: argparse.ArgumentParser) -> None:
    command.add_argument("--seed", type=int, required=True, help="the study's seed")


def _workers(command: argparse.ArgumentParser) -> None:
    command.add_argument("--workers", type=int, default=1, help="parallel workers (default 1)")


def _out(command: argparse.ArgumentParser, text: str) -> None:
    command.add_argument("--out", type=Path, required=True, help=text)


def _identity(command: argparse.ArgumentParser, nargs: str | None = None) -> None:
    command.add_argument("--backbone", nargs=nargs, required=True, help="a timm name")
    command.add_argument("--init", nargs=nargs, required=True, help="name of the initialisation")
    command.add_argument("--classes", nargs="+", required=True, help="class names, in the order of the logits")
    command.add_argument("--patients", type=Path, required=True)
    command.add_argument("--certificate", type=Path, required=True, help="what the audit allowed (certificate.json)")


def _fitting(command: argparse.ArgumentParser, nargs: str | None = None) -> None:
    command.add_argument("--training", required=True, help="the `training` section of the config as JSON")
    command.add_argument(
        "--input-size", type=int, nargs=nargs, required=True, help="side in pixels at which the backbone sees"
    )
    _seed(command)
    command.add_argument("--threads", type=int, default=1, help="CPU threads of a cell (default 1)")
    command.add_argument("--results", type=Path, required=True, help="folder of the study's results")
    command.add_argument("--checkpoints", type=Path, required=True, help="folder for the state of unfinished fits")


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
    """SIGTERM came: what a cluster sends before it kills, and time to leave nothing half-written."""


def _raise_terminated(signum: int, frame: object) -> None:
    raise Terminated


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one stage; returns the exit code."""
    options = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _raise_terminated)
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
        print("Ended from outside (SIGTERM); nothing half-written was left.", file=failures)
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
