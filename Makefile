# What a user types. Everything runs in .venv, which is made where it is missing.

PYTHON ?= python3.11
BIN := .venv/bin
PIP = $(BIN)/python -m pip install --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help install install-dev hooks repro table plots sweep report verify evaluate \
  publish sample export bench lint test test-fast

# The variables that each target reads. Any other one on the command line would do nothing, so it is
# refused: a comparison that silently ran the default is worse than none.
VARIABLES_sweep := SWEEP JOBS
VARIABLES_plots := EXPERIMENTS
VARIABLES_report := SWEEP
VARIABLES_evaluate := ADAPTER
VARIABLES_publish := REPO
VARIABLES_sample := PROMPT N TEMPERATURE SEED
VARIABLES_export := DIR
VARIABLES_bench := QUICK
KNOWN := PYTHON $(foreach goal,$(MAKECMDGOALS),$(VARIABLES_$(goal)))
GIVEN := $(foreach name,$(.VARIABLES),$(if $(findstring command line,$(origin $(name))),$(name)))
UNREAD := $(sort $(filter-out $(KNOWN) -% MAKE%,$(GIVEN)))
PARAMS := loss LOSS beta BETA alpha ALPHA lr LR seed SEED study STUDY launch LAUNCH
ifneq ($(filter $(PARAMS),$(UNREAD)),)
  $(error $(filter $(PARAMS),$(UNREAD)): settings of params.yaml, which make does not read; run \
    `dvc exp run $(strip $(foreach name,$(filter $(PARAMS),$(UNREAD)),-S $(shell \
    echo $(name) | tr A-Z a-z)=$(value $(name))))` after `source .venv/bin/activate`)
else ifneq ($(UNREAD),)
  $(error $(UNREAD): `make $(MAKECMDGOALS)` does not read it; it reads $(strip $(KNOWN)))
endif

# What the user gives reaches the shell as data, in the environment: make expands it nowhere.
INPUTS := EXPERIMENTS SWEEP JOBS ADAPTER REPO PROMPT N TEMPERATURE SEED DIR QUICK
unexport $(INPUTS)
export FDPO_EXPERIMENTS := $(value EXPERIMENTS)
export FDPO_SWEEP := $(value SWEEP)
export FDPO_JOBS := $(value JOBS)
export FDPO_ADAPTER := $(value ADAPTER)
export FDPO_REPO := $(value REPO)
export FDPO_PROMPT := $(value PROMPT)
export FDPO_N := $(value N)
export FDPO_TEMPERATURE := $(value TEMPERATURE)
export FDPO_SEED := $(value SEED)
export FDPO_DIR := $(value DIR)
export FDPO_QUICK := $(value QUICK)
JOBS_OPTION = $${FDPO_JOBS:+--jobs="$$FDPO_JOBS"}
needed = @$(if $(strip $(value $(1))),:,$(error $(1) is not given; `make $@ $(1)=$(2)`))

# Behind commands that people pipe into `head`: a reader that has gone is no failure.
QUIETLY = || exit $$(($$? == 141 ? 0 : $$?))

# Not .venv/bin/activate, which names the folder that .venv was made in: this one may be moved.
export PATH := $(CURDIR)/$(BIN):$(PATH)

help:  ## what there is to type
	@echo 'make TARGET'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: .venv/installed  ## what the pipeline needs, into .venv

install-dev: .venv/installed-dev  ## the same with tests and lint

.venv/installed: requirements.txt
	@echo 'Installing about 170 packages into .venv: 0.5 GB to fetch, 2 GB on disk; several GB more of both'
	@echo "where PyTorch comes with CUDA libraries. pip shows each package's progress below."
	$(PYTHON) -m venv .venv
	$(PIP) -r requirements.txt
	touch $@

.venv/installed-dev: requirements-dev.txt .venv/installed
	$(PIP) -r requirements-dev.txt
	touch $@

hooks: install-dev  ## run ruff before each commit, by pre-commit
	$(BIN)/pre-commit install

repro: install  ## run what is out of date, then show what came of it
	python -m dvc repro && python -m experiments.samples && python -m experiments.summary $(QUIETLY)

table: install  ## the experiments, best reward first
	python -m experiments.table $(QUIETLY)

plots: install  ## curves and samples' rewards as a page: EXPERIMENTS="NAME workspace" compares them
	set -f; python -m experiments.plots -- $$FDPO_EXPERIMENTS

sweep: install  ## run a sweep's rows that are not done: SWEEP=controlled; JOBS=2 at once
	$(call needed,SWEEP,controlled)
	python -m experiments.sweep run $(JOBS_OPTION) -- "$$FDPO_SWEEP"

report: install  ## what the finished sweeps show, in results/report: SWEEP=NAME for one alone
	python -m experiments.report $${FDPO_SWEEP:+-- "$$FDPO_SWEEP"}

verify: install  ## does this machine get the committed results?
	python -m experiments.verify

evaluate: install  ## measure a ready adapter: ADAPTER=user/name or a folder
	$(call needed,ADAPTER,user/name or a folder)
	python -m experiments.evaluate_adapter -- "$$FDPO_ADAPTER" $(QUIETLY)

publish: install  ## upload models/policy to the Hub: REPO=user/name
	$(call needed,REPO,user/name)
	python -m experiments.publish -- "$$FDPO_REPO"

sample: install  ## reference beside policy: PROMPT="The film"; N=8 samples, TEMPERATURE=0.7, SEED=3
	$(call needed,PROMPT,"The film")
	python -m experiments.sample_prompt $${FDPO_N:+--samples="$$FDPO_N"} \
	  $${FDPO_TEMPERATURE:+--temperature="$$FDPO_TEMPERATURE"} $${FDPO_SEED:+--seed="$$FDPO_SEED"} \
	  -- "$$FDPO_PROMPT" $(QUIETLY)

export: install  ## the policy as a whole model, its adapter merged: DIR=models/export
	python -m experiments.export_policy $${FDPO_DIR:+-- "$$FDPO_DIR"}

bench: install  ## speed against peers, on a quiet machine: hours; QUICK=1 shows the ratios in ten minutes
	python -m benchmarks $${FDPO_QUICK:+--quick}

lint: install-dev  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Two commands race there, and what each does first follows the machine's load.
ALONE := tests/run/test_two_runs.py

test: lint  ## lint, then all tests: about twenty minutes on two cores
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 10 \
	  --ignore $(ALONE)
	$(BIN)/python -m pytest $(ALONE)

test-fast: install-dev  ## the tests without pipelines, browser and store: three minutes on two cores
	$(BIN)/python -m pytest -n 2 -m 'not slow and not browser and not store'
