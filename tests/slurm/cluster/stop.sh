#!/usr/bin/env bash
# Ends what start.sh started, by process id; with --purge its files go too.
set -uo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

stop() { # stop PIDFILE NAME
    alive "$1" "$2" || return 0
    local pid
    pid=$(cat "$1")
    kill "$pid"
    for _ in $(seq 200); do
        alive "$1" "$2" || return 0
        sleep 0.05
    done
    say "$2 (process $pid) does not end and is killed"
    kill -9 "$pid"
}

if alive "$ROOT/slurmctld.pid" slurmctld; then
    timeout 10 scancel -u "$(id -un)"
    for _ in $(seq 50); do
        [ -z "$(timeout 5 squeue -h)" ] && break
        sleep 0.2
    done
fi
stop "$ROOT/slurmctld.pid" slurmctld
for node in gpu1 gpu2; do stop "$ROOT/slurmd.$node.pid" slurmd; done
stop "$ROOT/slurmdbd.pid" slurmdbd
stop "$ROOT/database.pid" mariadbd
stop "$ROOT/munged.pid" munged
if [ "${1:-}" = --purge ]; then
    for name in slurm.conf slurmdbd.conf gres.conf; do
        [ "$(readlink "/etc/slurm/$name")" = "$ROOT/etc/$name" ] && rm -f "/etc/slurm/$name"
    done
    rm -rf "$ROOT"
fi
exit 0
