.DEFAULT_GOAL := help
.PHONY: help demo test slurm-test lint bench perf perf-study lock schema modules
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help:  ## list these targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(READY): envs/requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sonogrid needs Python 3.11 or later; run: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	pip install --quiet --no-deps -r envs/requirements.lock
	pip install --quiet --no-deps --no-build-isolation -e .
	pip check
	touch $@

demo: $(READY)  ## run the shipped study: a simulated cohort and a small grid
	snakemake --cores all --rerun-incomplete
	@echo "The report of the demo (simulated data): $(CURDIR)/results/report.html"

test: $(READY)  ## the whole test suite, offline, no GPU
	OMP_NUM_THREADS=1 pytest tests/unit tests/property tests/workflow -n 2 --dist worksteal
	OMP_NUM_THREADS=1 pytest tests/benchmark --benchmark-disable

slurm-test: $(READY)  ## the workflow on a real SLURM, which this installs (apt, root), starts and stops
	tests/slurm/run.sh

lint: $(READY)  ## ruff, snakefmt, snakemake --lint, mypy
	ruff check
	ruff format --check
	snakefmt --check Snakefile rules
	snakemake --lint
	mypy

bench: $(READY)  ## measure and print the benchmarks, with a JSON under .benchmarks/
	OMP_NUM_THREADS=1 pytest tests/benchmark -m "not full" --benchmark-autosave --benchmark-columns=median,iqr,rounds

BASE ?= main
HEAD ?= HEAD
perf: $(READY)  ## is HEAD slower than BASE? make perf BASE=main; FLAGS="--suite full --minutes 120"
	sonogrid perf compare $(BASE) $(HEAD) $(FLAGS)

perf-study: $(READY)  ## how often that errs: record identical code, replay it, write docs/performance.md (hours)
	python tests/tools/study_perf.py

schema: $(READY)  ## make workflow/schemas/config.schema.json from src/sonogrid/config/study.py
	sonogrid schema > workflow/schemas/config.schema.json

modules: $(READY)  ## make docs/modules.md from the docstrings of src/sonogrid
	python tests/tools/list_modules.py > docs/modules.md

lock:  ## make envs/requirements.lock anew from the ranges in pyproject.toml
	bash envs/lock.sh
