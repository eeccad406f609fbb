#!/usr/bin/env bash
# Starts a real SLURM for tests on this machine: two nodes with four pretended GPUs each. A second call finds it running.
# Needs root and Debian's packages, which it installs; no systemd, no cgroups. Exit code 77: it cannot run here, and the
# last line says why. Its configuration is linked into /etc/slurm, as srun inside a job looks nowhere else.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/common.sh"

PACKAGES=(munge slurmctld slurmd slurm-client slurmdbd mariadb-server-core mariadb-client-core)

cannot() {
    say "cannot run here: $*"
    exit 77
}

wait_for() { # wait_for SECONDS WHAT COMMAND...
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until timeout 5 "$@" >/dev/null 2>&1; do
        if [ $SECONDS -ge $end ]; then
            say "$what did not come up; the ends of the logs:"
            tail -n 15 "$ROOT"/*.log >&2 || true
            exit 1
        fi
        sleep 0.1
    done
}

[ "$(id -u)" = 0 ] || cannot "it takes root"
conf=/etc/slurm/slurm.conf
if [ -e $conf ] && [ "$(readlink -f $conf)" != "$(readlink -f "$ROOT/etc/slurm.conf")" ]; then
    cannot "this machine has a SLURM of its own ($conf)"
fi

if ! dpkg -s "${PACKAGES[@]}" >/dev/null 2>&1; then
    command -v apt-get >/dev/null || cannot "there is no apt-get to install ${PACKAGES[*]}"
    # No package starts a service of its own.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod +x $policy
        trap 'rm -f "$policy"' EXIT
    fi
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${PACKAGES[@]}"; } >&2 ||
        cannot "apt-get cannot install ${PACKAGES[*]}"
fi

mkdir -p -m 700 "$ROOT"
# Whoever could write here, or reach the database's socket, would be root.
[ -O "$ROOT" ] || cannot "$ROOT belongs to someone else"
chmod 700 "$ROOT"
mkdir -p "$ROOT"/{etc,state,devices,slurmd.gpu1,slurmd.gpu2} /etc/slurm
# A GPU must be a device file for CUDA_VISIBLE_DEVICES to be set, and a link to one is enough.
for gpu in 0 1 2 3; do ln -sfn /dev/null "$ROOT/devices/nvidia$gpu"; done
if ! alive "$ROOT/slurmctld.pid" slurmctld; then
    for name in "${CONFIGS[@]}"; do
        (umask 077 && sed -e "s|@ROOT@|$ROOT|g" -e "s|@HOST@|$(hostname -s)|g" -e "s|@PORT@|$PORT|g" \
            -e "s|@DBD_PORT@|$((PORT + 1))|g" -e "s|@NODE1_PORT@|$((PORT + 2))|g" -e "s|@NODE2_PORT@|$((PORT + 3))|g" \
            "$here/$name.in" >"$ROOT/etc/$name")
        ln -sfn "$ROOT/etc/$name" "/etc/slurm/$name"
    done
    chmod 644 "$ROOT/etc/slurm.conf" "$ROOT/etc/gres.conf"
fi

if ! alive "$ROOT/munged.pid" munged; then
    [ -s "$ROOT/munge.key" ] || (umask 077 && head -c 1024 /dev/urandom >"$ROOT/munge.key")
    munged --force --key-file="$ROOT/munge.key" --socket="$ROOT/munge.socket" --pid-file="$ROOT/munged.pid" \
        --seed-file="$ROOT/munge.seed" --log-file="$ROOT/munged.log"
fi
wait_for 10 munged munge -S "$ROOT/munge.socket" -n

export MYSQL_UNIX_PORT=$ROOT/database.socket
if ! alive "$ROOT/database.pid" mariadbd; then
    # The socket is the only way in, and nothing in it is worth waiting for the disk.
    database=(--no-defaults --user=root --datadir="$ROOT/database" --innodb-flush-method=nosync --innodb-doublewrite=0
        --innodb-flush-log-at-trx-commit=0 --innodb-buffer-pool-size=128M --innodb-lock-wait-timeout=900)
    if [ ! -e "$ROOT/database.made" ]; then
        rm -rf "$ROOT/database"
        mkdir "$ROOT/database"
        mariadb-install-db "${database[@]}" --auth-root-authentication-method=normal --skip-test-db \
            >"$ROOT/database-made.log" 2>&1
        touch "$ROOT/database.made"
    fi
    rm -f "$MYSQL_UNIX_PORT"
    setsid mariadbd "${database[@]}" --socket="$MYSQL_UNIX_PORT" --pid-file="$ROOT/database.pid" --skip-networking \
        </dev/null >"$ROOT/database.log" 2>&1 &
fi
wait_for 30 mariadbd test -S "$MYSQL_UNIX_PORT"

alive "$ROOT/slurmdbd.pid" slurmdbd || slurmdbd
wait_for 20 slurmdbd sacctmgr -n list cluster
if [ -z "$(sacctmgr -nP list cluster format=cluster)" ]; then
    user=$(id -un)
    {
        sacctmgr -iQ add cluster test
        sacctmgr -iQ add account test description=test organization=test
        sacctmgr -iQ add user "$user" account=test
        sacctmgr -iQ modify user "$user" set defaultaccount=test
    } >&2
fi

alive "$ROOT/slurmctld.pid" slurmctld || slurmctld
wait_for 20 slurmctld scontrol ping
for node in gpu1 gpu2; do alive "$ROOT/slurmd.$node.pid" slurmd || slurmd -N $node; done
both_nodes() { [ "$(sinfo -h -N -p gpu -t idle,mix,alloc -o %N | sort -u | wc -l)" = 2 ]; }
export -f both_nodes
wait_for 30 "the nodes" bash -c both_nodes
say "up: $(sinfo -h -p gpu -o '%D nodes with %c CPUs and %G'); logs: $ROOT/*.log"
