"""One fresh process of a side: what it measured, what failed in it, and that it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from unit.perf.tiny_project import SECONDS, SUITE, Project, speed, tiny_project

from sonogrid.perf import process
from sonogrid.perf.measuring import PLANTED, digest_of
from sonogrid.perf.process import CONTROL, PREFIX, Side, left_over, run_in_tree, run_process, undisturbed


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return tiny_project(tmp_path / "project")


def side(project: Project) -> Side:
    return Side("head", "0" * 40, project.folder, Path(sys.executable))


def test_every_benchmark_of_a_suite_is_measured_with_what_it_says_of_itself(project: Project) -> None:
    made = run_process(side(project))
    assert made.failed == "" and made.broken == {}
    assert set(made.measured) == {CONTROL, "speed[a]", "speed[b]"}
    one = made.measured["speed[a]"]
    assert [one.least, one.quartile, one.median, one.mean] == pytest.approx([SECONDS["a"]] * 4)
    assert (one.unit, one.count, one.inputs, one.numbers) == ("image", 1, digest_of("a"), digest_of(1))
    assert one.node == "tests/benchmark/test_speed.py::test_speed[a]"
    assert made.measured[CONTROL].inputs is None


def test_chosen_benchmarks_run_alone_with_the_control(project: Project) -> None:
    made = run_process(side(project), nodes=["tests/benchmark/test_speed.py::test_speed[b]"])
    assert set(made.measured) == {CONTROL, "speed[b]"}


def test_only_the_full_suite_has_what_is_marked_so(project: Project) -> None:
    marked = SUITE.replace("@pytest.mark.benchmark", "@pytest.mark.full\n@pytest.mark.benchmark")
    project.write({"tests/benchmark/test_long.py": marked.replace("test_speed", "test_long")})
    assert "long[a]" not in run_process(side(project)).measured
    assert "long[a]" in run_process(side(project), "full").measured


def test_a_benchmark_that_fails_is_told_with_its_reason(project: Project) -> None:
    project.write(speed({"a": -1.0, "b": 0.02}))
    made = run_process(side(project))
    assert set(made.measured) == {CONTROL, "speed[b]"}
    assert made.broken == {"speed[a]": "AssertionError: the benchmark is broken assert -1.0 > 0"}


def test_a_module_that_cannot_be_imported_breaks_itself_alone(project: Project) -> None:
    project.write({"tests/benchmark/test_wrong.py": "import sonogrid.nothing\n"})
    made = run_process(side(project))
    assert {"speed[a]", "speed[b]"} <= set(made.measured)
    assert list(made.broken) == ["tests.benchmark.test_wrong"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"pyproject.toml": "[tool.pytest.ini_options]\naddopts = '--no-such-flag'\n"}, "exit code 4"),
        ({"tests/benchmark/conftest.py": "raise RuntimeError('no suite')\n"}, "exit code"),
        ({"tests/benchmark/conftest.py": "import os\nos._exit(9)\n"}, "exit code 9"),
    ],
)
def test_a_suite_that_does_not_run_at_all_is_told(project: Project, files: dict[str, str], said: str) -> None:
    project.write(files)
    made = run_process(side(project))
    assert said in made.failed and made.measured == {}


def test_a_process_that_imports_another_package_measures_nothing(project: Project, tmp_path: Path) -> None:
    (project.folder / "src").rename(tmp_path / "elsewhere")
    (project.folder / "src").symlink_to(tmp_path / "elsewhere")
    assert (
        "which is not the package of head"
        in run_process(
            Side("head", "", project.folder, Path(sys.executable)),
            environment={"PYTHONPATH": str(tmp_path / "elsewhere")},
        ).failed
    )


def test_a_process_that_hangs_is_ended_with_all_that_it_started(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said = run_in_tree(["sh", "-c", "sleep 600 & echo $!; wait"], side(project), {}, seconds=3)
    assert code is None
    child = Path(f"/proc/{int(said)}/stat")
    deadline = time.monotonic() + 60
    while child.exists() and " Z " not in child.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not child.exists() or " Z " in child.read_text()
    monkeypatch.setitem(process.SECONDS, "fast", 0.01)
    assert run_process(side(project)).failed == "did not end in time"


def test_an_interruption_waits_until_what_cleans_up_is_done() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), undisturbed():
        os.kill(os.getpid(), signal.SIGINT)
        done.append("cleaned")
    assert done == ["cleaned"]


def test_what_a_killed_gate_left_is_found_and_that_of_a_running_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    places = [tmp_path / "memory", tmp_path / "temporary"]
    monkeypatch.setattr(process, "MEMORY", places[0])
    monkeypatch.setattr(tempfile, "tempdir", str(places[1]))
    for place in places:
        for number in (ended.pid, os.getpid(), 1, "x", 10**30):
            (place / f"{PREFIX}{number}-abc").mkdir(parents=True)
    assert left_over() == [place / f"{PREFIX}{ended.pid}-abc" for place in places]


def test_two_benchmarks_of_one_name_measure_nothing(project: Project) -> None:
    project.write({"tests/benchmark/test_again.py": SUITE})
    assert run_process(side(project)).failed == "two benchmarks have one name: speed[a], speed[b]"


def test_a_suite_that_says_nonsense_of_itself_is_told(project: Project) -> None:
    for wrong in ("['count'] = 'many'", "['count'] = 0", "['profile'] = [{}]"):
        project.write({"tests/benchmark/test_speed.py": f"{SUITE.rstrip()}\n    benchmark.extra_info{wrong}\n"})
        assert "exit code 0" in run_process(side(project)).failed


def test_a_side_sees_its_own_package_and_no_secret_of_the_caller(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    for name in (
        "PYTEST_ADDOPTS",
        "GITHUB_ENV",
        "HOMEBREW_GITHUB_API_TOKEN",
        "NVIDIA_API_KEY",
        "LANGSMITH_KEY",
        PLANTED,
    ):
        monkeypatch.setenv(name, "secret")
    command = [sys.executable, "-c", "import os, sonogrid; print(sonogrid.__file__, 'secret' in os.environ.values())"]
    code, said = run_in_tree(command, side(project), {}, 60)
    assert (code, said.split()) == (0, [str(project.folder / "src/sonogrid/__init__.py"), "False"])
