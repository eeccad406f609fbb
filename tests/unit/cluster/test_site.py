"""The site file: every mistake in it is told at once, before a command is made of it."""

import subprocess
from pathlib import Path

import pytest

from sonogrid.cluster import site as site_module
from sonogrid.cluster.site import Site, load_site, site_or_exit
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


def test_texts_for_snakemake_have_quotes_of_their_own(monkeypatch):
    monkeypatch.delenv("SBATCH_PARTITION", raising=False)
    site = Site(account="a", partition="g", cpu_partition="c", qos="q", constraint="big", gpu_model="h200")
    assert site.job_resources == {"slurm_account": "'a'", "slurm_partition": "'c'", "qos": "'q'"}
    assert site.gpu_resources == {"slurm_partition": "'g'", "constraint": "'big'", "gpu_model": "'h200'"}
    assert Site().job_resources == {"slurm_account": "''", "slurm_partition": "''"}
    assert Site(gres="shard:1").gpu_resources == {"slurm_partition": "''", "gres": "'shard:1'", "gpu": 0}
    assert Site(scratch="/scratch/me").fit_resources == {"checkpoints": "'/scratch/me'"}


def test_partition_of_sbatchs_own_variable_counts(monkeypatch):
    monkeypatch.setenv("SBATCH_PARTITION", "e")
    assert Site().job_resources["slurm_partition"] == Site().gpu_resources["slurm_partition"] == "'e'"
    assert Site(partition="g").gpu_resources["slurm_partition"] == "'g'"


@pytest.mark.parametrize("defined", [True, False])
def test_modules_are_loaded_with_or_without_the_shell_function(tmp_path, monkeypatch, defined):
    script = tmp_path / "lmod.sh"
    script.write_text('module() { echo "loaded $*"; }\n', encoding="utf-8")
    monkeypatch.setattr(site_module, "MODULE_SCRIPTS", (str(tmp_path / "none.sh"), str(script)))
    command = Site(modules=("cuda/12.4", "python/3.11")).load_modules
    before = 'module() { echo "own $*"; }\n' if defined else ""
    said = subprocess.run(["/bin/sh", "-c", before + command], capture_output=True, text=True, check=True)
    assert said.stdout == f"{'own' if defined else 'loaded'} load cuda/12.4 python/3.11\n"


def test_all_mistakes_at_once(tmp_path):
    file = written(
        tmp_path, "acount: me\npartition: 'gpu; rm -rf ~'\nscratch: tmp\ngres: gpu:1,shard:2\nmodules: [$(id)]\n"
    )
    with pytest.raises(InputError) as caught:
        load_site(file)
    text = str(caught.value)
    assert len(caught.value.problems) == 5
    assert f"{file}, key acount: is not known. Did you mean 'account'?" in text
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


def test_mistake_in_the_site_file_ends_without_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm" / "site.yaml").write_text("acount: radiology\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        site_or_exit()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("slurm/site.yaml, key acount: is not known") and "'account'" in said


def test_site_without_facts_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert site_or_exit() == Site()
