# Everything runs in .venv, which is made once and again when what it is made of changes.
#
#   make demo       the embedded benchmark, offline, with its leaderboard
#   make test       the tests (`make test PYTEST_ARGS="-k windows"` for a part of them)
#   make test-all   the marked ones too: slow, real, ray, browser
#   make check      format, lint and types
#   make board      the project's own board, from the records beside it
#   make benchmark  what things cost on this machine, into BENCHMARKS.md
#
# Another interpreter: make demo PYTHON=python3.12

PYTHON ?= python3
PYTEST_ARGS ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet -c constraints.txt

.PHONY: board demo test test-all check benchmark clean

demo: .venv/.installed
	$(BIN)/saetransfer run demo --out runs/demo
	$(BIN)/saetransfer leaderboard runs/demo --out runs/demo/LEADERBOARD.md

test: .venv/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

test-all: test
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "slow or real or ray or browser" $(PYTEST_ARGS)

check: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python

benchmark: .venv/.installed
	$(BIN)/python -m saetransfer.bench.benchmarks --out BENCHMARKS.md

board: .venv/.installed-dev
	$(BIN)/saetransfer leaderboard leaderboard/records --out leaderboard/LEADERBOARD.md --html leaderboard/index.html

clean:
	rm -rf .venv build dist *.egg-info

# torch comes first and alone: the other packages then find it and do not pull in a second build of it.
.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "saetransfer needs Python 3.10 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
	    "Name another one: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) torch
	$(PIP) -e .
	@touch $@

.venv/.installed-dev: .venv/.installed
	$(PIP) -e '.[test,dev]'
	@touch $@
