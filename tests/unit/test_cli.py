"""The command line: help, exit codes, and where messages go."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sonogrid import cli, stages
from sonogrid.cli import main
from sonogrid.files import whole_file


def test_help_lists_every_stage_in_running_order(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    stages = ("cohort", "images", "splits", "audit", "pretrain", "train", "evaluate")
    order = [text.index(f"\n    {stage} ") for stage in stages]
    assert order == sorted(order)
    assert "Exit codes" in text
    assert max(map(len, text.splitlines())) <= 110


def test_every_stage_has_a_description(capsys):
    for stage in ("check", "schema", "cohort", "train", "tables", "figures", "explain", "report"):
        with pytest.raises(SystemExit):
            main([stage, "--help"])
        assert "usage: sonogrid" in capsys.readouterr().out


def test_schema_is_printed(capsys):
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "Study"


def test_check_merges_files_as_snakemake_does(tmp_path, capsys):
    (tmp_path / "more.yaml").write_text("splits: {folds: 4}\nstudy: more\n", encoding="utf-8")
    assert main(["check", "--config", "config.yaml", str(tmp_path / "more.yaml")]) == 0
    assert capsys.readouterr().out == (
        "Study more: 2 backbones x 2 inits x 3 modalities x 1 seed x 4 folds = 48 cells\n"
    )


def test_an_input_mistake_exits_with_2_and_stands_in_the_log_and_on_the_terminal(tmp_path, capsys):
    (tmp_path / "more.yaml").write_text("splits: {folds: 1}\n", encoding="utf-8")
    log = tmp_path / "logs" / "check.log"
    assert main(["--log", str(log), "check", "--config", "config.yaml", str(tmp_path / "more.yaml")]) == 2
    assert "config key splits.folds" in capsys.readouterr().err
    assert "config key splits.folds" in log.read_text(encoding="utf-8")


@pytest.mark.parametrize("stage", ["tables", "figures", "report"])
def test_a_missing_input_is_named_with_the_command_that_makes_it(stage, tmp_path, capsys):
    results = tmp_path / "results"
    (tmp_path / "more.yaml").write_text(f"results: {results}\n", encoding="utf-8")
    assert main([stage, "--config", "config.yaml", str(tmp_path / "more.yaml")]) == 2
    told = f"{results}/metrics.csv: there is no such file. Score the cells first (sonogrid evaluate).\n"
    assert capsys.readouterr().err.endswith(told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is not part of a configuration as JSON"),
        ("[]", "mapping"),
        ('{"splits": {"folds": "many"}}', "value 'many'"),
        ('{"splits": {"flods": 3}}', "flods"),
    ],
)
def test_a_bad_part_of_a_study_exits_with_2_and_names_the_mistake(text, told, capsys, monkeypatch):
    assert main(["splits", "--study", text]) == 2
    said = capsys.readouterr().err
    assert told in said
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert main(["splits", "--study", "-"]) == 2
    assert capsys.readouterr().err == said


def test_a_part_that_is_no_text_exits_with_2(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"study": "\xff"}')))
    assert main(["splits", "--study", "-"]) == 2
    assert "--study: is not part of a configuration as JSON" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags",
    [
        *(["--fold", text] for text in ("-1", "0.5", "one")),
        ["--seed", "-1"],
        ["--study", "{}", "--config", "config.yaml"],
    ],
)
def test_flags_that_cannot_be_are_refused(flags, capsys):
    whole = [
        "train",
        *["--backbone", "test_resnet", "--init", "scratch", "--modality", "bmode", "--seed", "0", "--fold", "0"],
    ]
    with pytest.raises(SystemExit) as caught:
        main([*whole, *flags])
    assert caught.value.code == 2
    assert flags[-2] in capsys.readouterr().err


def test_a_corpus_that_is_none_is_refused_with_those_that_are(capsys):
    assert main(["images", "--modality", "bmode", "--corpus", "scratch"]) == 2
    assert "--corpus: 'scratch' is not in the configuration. Choose from: pretrained" in capsys.readouterr().err


def test_a_missing_file_exits_with_2_and_names_it(tmp_path, capsys):
    missing = tmp_path / "none.yaml"
    assert main(["check", "--config", str(missing)]) == 2
    assert str(missing) in capsys.readouterr().err


def test_a_failure_of_the_program_exits_with_1_and_leaves_a_traceback_in_the_log(tmp_path, capsys, monkeypatch):
    def schema(_):
        raise RuntimeError("a defect")

    monkeypatch.setattr(stages, "schema", schema)
    log = tmp_path / "s.log"
    assert cli.main(["--log", str(log), "schema"]) == 1
    assert "RuntimeError: a defect" in log.read_text(encoding="utf-8")
    assert "RuntimeError: a defect" in capsys.readouterr().err


def test_an_interrupt_exits_with_130(monkeypatch, capsys):
    def schema(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "schema", schema)
    assert main(["schema"]) == 130
    assert "Interrupted" in capsys.readouterr().err


def test_a_full_disk_names_the_file_and_a_remedy_and_leaves_nothing(monkeypatch, capsys):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full on this system")

    def schema(_):
        with whole_file(Path("metrics.csv")):
            full.write_text("a disk without space")

    monkeypatch.setattr(stages, "schema", schema)
    assert main(["schema"]) == 2
    # The failed write itself does not know its file; the message must name the one that was to be made.
    told = capsys.readouterr().err
    assert told.startswith("metrics.csv: No space left on device")
    assert "Traceback" not in told
    assert not Path("metrics.csv").exists()


def test_a_write_beyond_the_limit_of_the_system_names_the_file(tmp_path):
    code = (
        "import resource, signal, sys, pathlib; from sonogrid import cli, stages, files\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "def schema(_): files.write_text('x' * 100000, pathlib.Path(sys.argv[1]))\n"
        "stages.schema = schema\n"
        "sys.exit(cli.main(['schema']))"
    )
    target = tmp_path / "metrics.csv"
    found = subprocess.run([sys.executable, "-c", code, str(target)], capture_output=True, text=True)
    assert found.returncode == 2
    assert found.stderr.startswith(f"{target}: File too large")
    assert list(tmp_path.iterdir()) == []


def test_a_log_that_cannot_be_written_is_named(tmp_path, capsys):
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    assert main(["--log", str(tmp_path / "file" / "x.log"), "schema"]) == 2
    assert str(tmp_path / "file") in capsys.readouterr().err


@pytest.mark.parametrize("text", ["a: [", "- a\n- b\n", "\x00"])
def test_a_configuration_that_is_no_mapping_is_named(text, tmp_path, capsys):
    (tmp_path / "bad.yaml").write_text(text, encoding="utf-8")
    assert main(["check", "--config", str(tmp_path / "bad.yaml")]) == 2
    assert str(tmp_path / "bad.yaml") in capsys.readouterr().err


def test_help_needs_neither_torch_nor_timm():
    code = "import sys, sonogrid.cli; sonogrid.cli.parser(); print({'torch', 'timm', 'matplotlib'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"


def test_sigterm_ends_with_its_own_code_and_cleans_up(tmp_path, capsys, monkeypatch):
    """What a cluster sends before it kills a job."""

    def write(_):
        with whole_file(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("sonogrid.stages.schema", write)
    write.__name__ = "schema"
    try:
        assert main(["schema"]) == 143
    finally:
        signal.signal(signal.SIGTERM, before)
    assert list(tmp_path.iterdir()) == []
    assert "Ended from outside" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            "train --backbone resnet18 --init scratch --modality bmode --seed 0 --fold 0",
            "--backbone: 'resnet18' is not in",
        ),
        ("train --backbone test_resnet --init nope --modality bmode --seed 0 --fold 0", "--init: 'nope' is not in"),
        ("train --backbone test_resnet --init scratch --modality bmode --seed 7 --fold 0", "Choose from: 0."),
        ("train --backbone test_resnet --init scratch --modality bmode --seed 0 --fold 9", "Choose from: 0, 1, 2."),
        ("pretrain --backbone test_resnet --init scratch --seed 0", "Choose from: pretrained."),
        (
            "images --modality ceus",
            "--modality: 'ceus' is not in the configuration. Choose from: bmode, cdfi, elastography.",
        ),
        ("images --modality ../bmode", "--modality: '../bmode' is not in"),
        ("explain --backbone test_vit --init scratch", "Choose from: test_resnet, test_byobnet."),
    ],
)
def test_values_that_the_study_does_not_have_are_refused_before_anything_is_read(command, said, capsys):
    assert main(command.split()) == 2
    told = capsys.readouterr().err
    assert said in told and "Traceback" not in told


def test_all_values_that_are_wrong_are_told_at_once(capsys):
    assert (
        main(["train", "--backbone", "a", "b", "--init", "c", "--modality", "bmode", "--seed", "0", "--fold", "0"]) == 2
    )
    assert len(capsys.readouterr().err.splitlines()) == 3


PART = '{"results": "results", "inits": {"scratch": {"source": "random", "files": {}}}}'


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"backbone": "../../../victim"}, "--backbone: '../../../victim' is no name"),
        ({"init": "nope"}, "--init: 'nope' is not in the configuration. Choose from: scratch."),
        ({"modality": "../bmode"}, "--modality: '../bmode' is not in the configuration"),
        ({"seed": ["4", "4"]}, "--seed: 4 is given twice. Give each value once."),
    ],
)
def test_values_beside_a_part_of_a_study_cannot_leave_the_results(changed, said, capsys):
    axes = {"backbone": "test_resnet", "init": "scratch", "modality": "bmode", "seed": "0", "fold": "0"} | changed
    flags = [
        word for axis, value in axes.items() for word in (f"--{axis}", *([value] if isinstance(value, str) else value))
    ]
    assert main(["train", "--study", PART, *flags]) == 2
    assert said in capsys.readouterr().err


def test_a_part_of_a_study_does_not_open_results_of_a_former_version(tmp_path, capsys):
    former = tmp_path / "cells" / "test_resnet" / "scratch" / "bmode" / "fold0"
    former.mkdir(parents=True)
    assert main(["splits", "--study", json.dumps({"results": str(tmp_path), "seed": 1})]) == 2
    assert "was made by version 0.1 of sonogrid" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["-1", "0.5", "one"])
def test_a_number_that_is_none_is_told_in_words(text, capsys):
    cell = ["train", "--backbone", "test_resnet", "--init", "scratch", "--modality", "bmode", "--seed", "0"]
    with pytest.raises(SystemExit):
        main([*cell, f"--fold={text}"])
    assert f"must be a whole number from 0, not '{text}'" in capsys.readouterr().err
