"""The site file: every mistake in it is told at once, before a command is made of it."""

from pathlib import Path

import pytest

from sonogrid.cluster.site import Site, load_site
from sonogrid.problems import InputError


def written(tmp_path, text):
    file = tmp_path / "site.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_shipped_file_states_nothing():
    assert load_site(Path("slurm/site.yaml")) == Site()


def test_every_key_stands_in_the_shipped_file_with_an_example():
    lines = Path("slurm/site.yaml").read_text(encoding="utf-8").splitlines()
    for key in Site.model_fields:
        (line,) = (line for line in lines if line.startswith(f"{key}:"))
        assert "e.g." in line, key


def test_only_the_usual_file_may_be_missing(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"none\.yaml: cannot be read"):
        load_site(tmp_path / "none.yaml")
    monkeypatch.chdir(tmp_path)
    assert load_site() == Site()


@pytest.mark.parametrize(("text", "modules"), [("modules:", ()), ("modules: cuda/12.4", ("cuda/12.4",))])
def test_modules_may_be_empty_or_one_word(tmp_path, text, modules):
    assert load_site(written(tmp_path, text)).modules == modules


def test_key_that_would_write_over_the_terminal_is_shown_and_not_done(tmp_path):
    with pytest.raises(InputError) as caught:
        load_site(written(tmp_path, '"\\e[2J\\nStudy ok": 1'))
    assert str(caught.value).isprintable() and "\\x1b[2J\\nStudy ok" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "flag"),
    [("", "--gpus=1"), ("gpu_model: a100", "--gpus=a100:1"), ("gres: gpu:a100:1", "--gres=gpu:a100:1")],
)
def test_gpu_flag(tmp_path, text, flag):
    assert load_site(written(tmp_path, text)).gpu_flag == flag


def test_all_mistakes_at_once(tmp_path):
    file = written(
        tmp_path, "acount: me\npartition: 'gpu; rm -rf ~'\nscratch: tmp\ngres: gpu:1,shard:2\nmodules: [$(id)]\n"
    )
    with pytest.raises(InputError) as caught:
        load_site(file)
    text = str(caught.value)
    assert len(caught.value.problems) == 5
    assert f"{file}, key acount: is not known. did you mean 'account'?" in text
    for key in ("partition", "scratch", "gres", "modules.0"):
        assert f"{file}, key {key}: value" in text


@pytest.mark.parametrize("word", ["-A", "a b", "a\nb", "$HOME", "a'b", "`id`", ""])
def test_nothing_that_a_shell_or_sbatch_would_read_otherwise(tmp_path, word):
    for key in ("account", "partition", "cpu_partition", "qos", "constraint", "gpu_model", "gres"):
        with pytest.raises(InputError):
            load_site(written(tmp_path, f"{key}: {word!r}"))


@pytest.mark.parametrize("text", ["a: [", "just words", "- a\n- b", "account: 2026-13-45", "[" * 3000])
def test_file_that_holds_no_keys(tmp_path, text):
    with pytest.raises(InputError) as caught:
        load_site(written(tmp_path, text))
    assert "site.yaml" in str(caught.value)
