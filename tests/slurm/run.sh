#!/usr/bin/env bash
# `make slurm-test`: installs (apt, as root) and starts a SLURM on this machine, runs tests/slurm on it, stops it.
# Exit code 0 also where SLURM cannot be installed: the tests are then skipped, and say why.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
code=0
timeout -s KILL 300 "$here/cluster/start.sh" || code=$?
case $code in
0) trap '"$here/cluster/stop.sh" --purge' EXIT ;;
77) ;; # the last line said why; the tests skip themselves
*) "$here/cluster/stop.sh" --purge; exit "$code" ;;
esac
# What can go wrong in a cluster is mostly a hang: nothing here may last for ever.
OMP_NUM_THREADS=1 timeout -s KILL 1500 pytest tests/slurm -n 2 --dist loadfile --max-worker-restart 0
