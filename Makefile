# What a user types. Everything runs in .venv, made where it is missing.

PYTHON ?= python3.11
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: install repro test lint verify table

install: $(INSTALLED)

$(INSTALLED): requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

repro: install  ## run what is out of date, then show what came of it
	. $(BIN)/activate && dvc repro && dvc metrics show && python -m experiments.samples

table: install  ## the experiments, best reward first
	. $(BIN)/activate && dvc exp show --no-pager --drop '.*' \
	  --keep 'Experiment|loss|beta|alpha|lr$$|reward|win_rate|kl|entropy|distinct_2|judge|accuracy' \
	  --sort-by reward --sort-order desc

verify: install  ## does this machine get the committed results?
	. $(BIN)/activate && python -m experiments.verify

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

test: lint
	$(BIN)/python -m pytest
