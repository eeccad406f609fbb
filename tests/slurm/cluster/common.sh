# What start.sh and stop.sh share.
ROOT=${SONOGRID_SLURM_ROOT:-/tmp/sonogrid-slurm} # everything of this SLURM but the links in /etc/slurm
PORT=${SONOGRID_SLURM_PORT:-17000}               # its ports on the loopback: this one to PORT + 3
CONFIGS=(slurm.conf slurmdbd.conf gres.conf)
unset SLURM_CONF

say() { echo "slurm for tests: $*" >&2; }

# alive PIDFILE NAME: this process runs that program. A process that nobody has reaped yet is not alive.
alive() {
    local pid stat
    pid=$(cat "$1" 2>/dev/null) && stat=$(cat "/proc/$pid/stat" 2>/dev/null) && [[ $stat == "$pid ($2) "[!ZX]* ]]
}
