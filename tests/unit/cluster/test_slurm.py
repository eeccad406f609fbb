"""Client commands of SLURM and their answers, as SLURM 22.05 gave them."""

from __future__ import annotations

import sys

import pytest

from sonogrid.cluster import slurm as cluster
from sonogrid.cluster.profile import site_profile
from sonogrid.cluster.requests import Request
from sonogrid.cluster.site import Site
from sonogrid.cluster.slurm import (
    Association,
    ask,
    call,
    parse_associations,
    parse_gres,
    parse_minutes,
    parse_partitions,
)
from sonogrid.problems import InputError

SINFO = """\
gpu*|up|gpu:h200:4(S:0-1),shard:h200:16(S:0)|64000|8|infinite|2|idle
gpu*|up|gpu:a100:2|256000+|64+|infinite|1|drained*
cpu|up|(null)|64000|8|1-00:00:00|3|mixed
cpu|up|(null)|64000|8|1-00:00:00|1|down*
old|inact|gpu:4|64000|8|1:00|1|idle
"""
CONFIG = """\
Configuration data as of 2026-11-22T07:47:47
AccountingStorageType   = accounting_storage/slurmdbd
MinJobAge               = 300 sec
Cgroup Support Configuration:
"""
JOB = (
    "JobId=1 JobName=wrap JobState=RUNNING SubmitTime=2026-11-22T07:45:01 StartTime=2026-11-22T07:45:03 EndTime=Unknown"
)
GPU_JOB = Request(gpus=1, cpus=2, mem_mb=6000, minutes=60)
CPU_JOB = Request(gpus=0, cpus=4, mem_mb=4000, minutes=30)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_command_is_asked_and_answers():
    assert ask(python("print('a partition')")) == "a partition\n"


def test_a_failure_names_the_command_its_words_and_a_remedy():
    with pytest.raises(InputError) as caught:
        ask(python("import sys; sys.exit('sinfo: error:\\n  no such thing')"))
    (problem,) = caught.value.problems
    assert sys.executable in problem.where
    assert problem.what == "failed with exit code 1 (sinfo: error: no such thing)"
    assert "plan --check" in problem.remedy


def test_a_command_that_is_not_there_is_named():
    with pytest.raises(InputError, match="no-such-command -x: there is no such command here"):
        ask(["no-such-command", "-x"])


def test_a_command_that_hangs_is_ended():
    with pytest.raises(InputError, match=r"no answer within 0\.2 s"):
        ask(python("import time; time.sleep(60)"), seconds=0.2)


def test_arguments_never_meet_a_shell():
    assert ask([*python("import sys; print(sys.argv[1])"), "$(id); `id` > x"]) == "$(id); `id` > x\n"


def test_a_command_gets_only_the_environment_given():
    answer = call(python("import os; print('HOME' in os.environ, os.environ['ONE'])"), environment={"ONE": "1"})
    assert answer.out.split() == ["False", "1"]


def test_partitions_are_read_with_their_nodes_gpus_and_limits():
    gpu, cpu, old = parse_partitions(SINFO)
    assert (gpu.name, gpu.default, gpu.up, gpu.nodes, gpu.working) == ("gpu", True, True, 3, 2)
    assert gpu.gpus == ("gpu:h200:4", "shard:h200:16", "gpu:a100:2")
    assert (gpu.memory_mb, gpu.cpus, gpu.minutes) == (256000, 64, None)
    assert (cpu.name, cpu.default, cpu.nodes, cpu.working, cpu.gpus, cpu.minutes) == ("cpu", False, 4, 3, (), 1440)
    assert (old.up, old.minutes) == (False, 1)
    assert cluster.gpu_models([gpu, cpu, old]) == ["a100", "h200"]


def test_partitions_are_described_for_people():
    assert [one.described for one in parse_partitions(SINFO)] == [
        "gpu (the default, a node has gpu:h200:4, shard:h200:16, gpu:a100:2)",
        "cpu (no GPUs)",
        "old (a node has gpu:4, closed)",
    ]


def test_lines_that_are_no_partitions_are_passed_over():
    assert parse_partitions("sinfo: warning\n\n") == []


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("(null)", ()),
        ("", ()),
        ("gpu:4", ("gpu:4",)),
        ("gpu:h200:4(S:0-1)", ("gpu:h200:4",)),
        ("gpu:a:1(S:0,2),shard:8(S:0)", ("gpu:a:1", "shard:8")),
    ],
)
def test_generic_resources_are_read_without_socket_numbers(text, entries):
    assert parse_gres(text) == entries


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("infinite", None), ("n/a", None), ("1:00", 1), ("30:00", 30), ("2:00:00", 120), ("7-12:30:00", 10830)],
)
def test_limits_are_read_as_minutes(text, minutes):
    assert parse_minutes(text) == minutes


def test_configuration_is_read():
    found = cluster.parse_config(CONFIG)
    assert found["AccountingStorageType"] == "accounting_storage/slurmdbd"
    assert cluster.leading_number(found["MinJobAge"]) == 300
    assert cluster.leading_number("(null)") is None
    assert cluster.leading_number("") is None


def test_associations_are_read():
    assert parse_associations("radiology|gpu|20|normal,long\nroot|||normal\n") == [
        Association("radiology", "gpu", 20, ("normal", "long")),
        Association("root", "", None, ("normal",)),
    ]
    assert parse_associations("sacctmgr: error: no accounting\n") == []


def test_jobs_of_each_kind_get_their_flags():
    site = Site(account="a", partition="g", cpu_partition="c", qos="q", constraint="big", gpu_model="h200")
    assert submitted(site, GPU_JOB) == "-A a -p g --qos=q -t 60 --mem 6000 --cpus-per-task=2 --gpus=h200:1 -C big"
    assert submitted(site, CPU_JOB) == "-A a -p c --qos=q -t 30 --mem 4000 --cpus-per-task=4 --ntasks=1"


def test_a_site_without_facts_leaves_all_to_the_cluster():
    assert submitted(Site(), GPU_JOB) == "-t 60 --mem 6000 --cpus-per-task=2 --gpus=1"
    assert submitted(Site(partition="p"), CPU_JOB).startswith("-p p ")


def test_attempts_ask_for_more_memory_and_time():
    assert (
        submitted(Site(gres="shard:1"), GPU_JOB, 3) == "-t 180 --mem 18000 --cpus-per-task=2 --ntasks=1 --gres=shard:1"
    )


def submitted(site: Site, request: Request, attempt: int = 1) -> str:
    job = site_profile(site).submission("train" if request.gpus else "evaluate", request, attempt)
    return " ".join(word for words in job.flags().values() for word in words)


def test_the_environment_of_sbatch_fills_what_the_site_leaves_out():
    site = cluster.with_environment(Site(account="mine"), {"SBATCH_ACCOUNT": "theirs", "SBATCH_PARTITION": "p"})
    assert (site.account, site.partition, site.qos) == ("mine", "p", None)


def test_the_start_of_a_job_is_read():
    begun, submit = (cluster.parse_start(text) for text in (JOB, JOB.replace("StartTime=2026-11-22T07:45:03", "")))
    assert begun is not None
    assert submit is None
    assert cluster.parse_start(JOB.replace("07:45:03", "07:45:13")) == begun + 10
    assert cluster.parse_start("StartTime=Unknown") is None


def test_outside_a_job_there_are_no_seconds_in_it(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert cluster.seconds_in_job() is None
