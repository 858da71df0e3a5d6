# What a user types. Everything runs in .venv, made where it is missing.

PYTHON ?= python3.11
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: install repro table sweep sweep-again report verify evaluate publish bench lint test

install: $(INSTALLED)

$(INSTALLED): requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

repro: install  ## run what is out of date, then show what came of it
	. $(BIN)/activate && dvc repro && dvc metrics show && python -m experiments.samples

table: install  ## the experiments, best reward first
	. $(BIN)/activate && dvc exp show --no-pager --drop '.*' \
	  --keep 'Experiment|loss|beta|alpha|lr$$|seed|reward$$|win_rate|kl|entropy|distinct_2|judge|accuracy' \
	  --sort-by reward --sort-order desc

sweep: install  ## run the rows of a sweep that are not done: SWEEP=controlled, or ROWS="A B" of it
	. $(BIN)/activate && python -m experiments.sweep "$(SWEEP)" $(if $(ROWS),--rows $(ROWS))

sweep-again: install  ## run a finished row anew and compare every number: SWEEP=controlled ROW=A
	. $(BIN)/activate && python -m experiments.sweep "$(SWEEP)" --again "$(ROW)"

report: install  ## what the finished sweeps show, in results/report: SWEEP=NAME for one alone
	. $(BIN)/activate && python -m experiments.report $(SWEEP)

verify: install  ## does this machine get the committed results?
	. $(BIN)/activate && python -m experiments.verify

evaluate: install  ## measure a ready adapter: ADAPTER=user/name or a folder
	. $(BIN)/activate && python -m experiments.evaluate_adapter "$(ADAPTER)"

publish: install  ## upload models/policy to the Hub: REPO=user/name
	. $(BIN)/activate && python -m experiments.publish "$(REPO)"

bench: install  ## speed against peers, on a quiet machine
	. $(BIN)/activate && python -m benchmarks

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 10
