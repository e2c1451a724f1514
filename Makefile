# make demo   set up, then restore a face on four tasks and draw a contact sheet
# make gallery   set up, then make the pictures of docs/tasks/ by the commands there (minutes)
# make test   set up, then lint, types and tests: what CI runs
PYTHON ?= python3
BIN := .venv/bin
CODE := degradations solvers nested restoration benchmarks examples tests

.PHONY: setup demo gallery test check clean

setup: .venv/.ready

.venv/.ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

demo: setup
	$(BIN)/python -m benchmarks.commands.demo

gallery: setup
	$(BIN)/python -m benchmarks.studies.gallery

check: setup
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy

test: check
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 --dist worksteal

clean:
	rm -rf .venv *.egg-info .mypy_cache .pytest_cache .ruff_cache
