#!/usr/bin/env bash
# `make slurm-test`: installs (apt, as root) and starts a SLURM on this machine, runs tests/slurm on it, stops it.
# Exit code 0 also where SLURM cannot be installed: the tests are then skipped, and say why.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
source "$here/cluster/common.sh"
# One that runs already is its starter's to stop.
alive "$ROOT/slurmctld.pid" slurmctld || trap '"$here/cluster/stop.sh" --purge' EXIT
code=0
timeout -s KILL 300 "$here/cluster/start.sh" || code=$?
# 77: the last line said why, and the tests skip themselves.
[ $code = 0 ] || [ $code = 77 ] || exit $code
# What can go wrong in a cluster is mostly a hang: nothing here may last for ever. A file's tests stay together, as
# those that take away a node or the controller must have the cluster for themselves.
OMP_NUM_THREADS=1 timeout -s KILL 1500 pytest tests/slurm -n 3 --dist loadfile
