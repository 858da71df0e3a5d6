# What a user types. Everything runs in .venv, which is made where it is missing.

PYTHON ?= python3.11
BIN := .venv/bin
PIP = $(BIN)/python -m pip install --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help install install-dev hooks repro table plots sweep report verify evaluate publish sample \
  export bench lint test test-fast

# Not .venv/bin/activate, which names the folder that .venv was made in: this one may be moved.
export PATH := $(CURDIR)/$(BIN):$(PATH)

# make would take a setting without a word, and run the default.
SETTINGS := $(strip $(foreach name,loss beta alpha lr seed study launch,$(if \
  $(filter command,$(origin $(name))),$(name))))
ifneq ($(SETTINGS),)
  $(error $(SETTINGS): set it by `dvc exp run -S $(firstword $(SETTINGS))=...`)
endif
needed = @$(if $($(1)),:,$(error $(1) is not given: make $@ $(1)=$(2)))

help:  ## what there is to type
	@echo 'make TARGET'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: .venv/installed  ## what the pipeline needs, into .venv

install-dev: .venv/installed-dev  ## the same with tests and lint

.venv/installed: requirements.txt
	@echo 'Installing about 170 packages into .venv: 0.5 GB to fetch, 2 GB on disk; several GB more of both'
	@echo "where PyTorch comes with CUDA libraries. pip shows each package's progress below."
	@$(PYTHON) -m venv .venv
	@$(PIP) -r requirements.txt
	@touch $@

.venv/installed-dev: requirements-dev.txt .venv/installed
	@$(PIP) -r requirements-dev.txt
	@touch $@

hooks: install-dev  ## run ruff before each commit, by pre-commit
	@$(BIN)/pre-commit install

repro: install  ## run what is out of date, then show what came of it
	@python -m dvc repro && python -m experiments.samples && python -m experiments.summary

table: install  ## the experiments, best reward first
	@python -m experiments.table

plots: install  ## curves and samples' rewards as a page: EXPERIMENTS="NAME workspace" compares them
	@python -m experiments.plots -- $(EXPERIMENTS)

sweep: install  ## run a sweep's rows that are not done: SWEEP=controlled; JOBS=2 at once
	$(call needed,SWEEP,controlled)
	@python -m experiments.sweep run $(SWEEP) $(if $(JOBS),--jobs $(JOBS))

report: install  ## what the finished sweeps show, in results/report: SWEEP=NAME for one alone
	@python -m experiments.report $(SWEEP)

verify: install  ## does this machine get the committed results?
	@python -m experiments.verify

evaluate: install  ## measure a ready adapter: ADAPTER=user/name or a folder
	$(call needed,ADAPTER,FOLDER)
	@python -m experiments.evaluate_adapter -- '$(ADAPTER)'

publish: install  ## upload models/policy to the Hub: REPO=user/name
	$(call needed,REPO,user/name)
	@python -m experiments.publish -- '$(REPO)'

sample: install  ## reference beside policy: PROMPT="The film"; N=8 samples, TEMPERATURE=0.7, SEED=3
	$(call needed,PROMPT,"The film")
	@python -m experiments.sample_prompt $(if $(N),--samples=$(N)) \
	  $(if $(TEMPERATURE),--temperature=$(TEMPERATURE)) $(if $(SEED),--seed=$(SEED)) -- '$(PROMPT)'

export: install  ## the policy as a whole model, its adapter merged: DIR=models/export
	@python -m experiments.export_policy -- $(DIR)

bench: install  ## speed beside other libraries, on a quiet machine: over an hour; QUICK=1 takes ten minutes
	@python -m benchmarks $(if $(QUICK),--quick)

lint: install-dev  ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

test: lint  ## lint, then all tests but the nightly ones
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 10

test-fast: install-dev  ## the tests without pipelines, browser and store
	@$(BIN)/python -m pytest -n 2 -m 'not slow and not browser and not store and not nightly'
