#!/usr/bin/env bash
# Resolve the ranges of pyproject.toml in an empty environment and write down what came out.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet 'setuptools>=77' '.[test,lint]'
{
    echo "# Exact versions of everything, made by: make lock. Install with: pip install --no-deps -r envs/requirements.lock"
    "$work/venv/bin/pip" freeze --exclude sonogrid --all | grep -v -E '^(pip==|-e )' |
        sed -E 's/^((nvidia-|cuda-|triton==).*)$/\1 ; sys_platform == "linux"/'
} >"$work/lock"
mv "$work/lock" envs/requirements.lock
