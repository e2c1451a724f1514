# make demo   set up, then restore a face on four tasks and draw a contact sheet
# make gallery   set up, then make the pictures of docs/tasks/ by the commands there (minutes)
# make test   set up, then lint, types and tests
# make docs   set up, then build the site from docs/ into site/; a broken link or a foreign host is an error
# make release   set up, then build dist/ and try the wheel outside of this folder
# make coverage   make test's tests, with the share of lines that they reach, of the packages below benchmarks
# CI runs docs, release, check and coverage
PYTHON ?= python3
BIN := .venv/bin
CODE := degradations solvers nested restoration benchmarks examples tests

.PHONY: setup demo gallery docs release test coverage check clean

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

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

release: setup
	rm -rf dist build
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*
	$(BIN)/python tests/support/release.py dist

coverage: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 --dist worksteal --cov --cov-report=term:skip-covered

clean:
	rm -rf .venv *.egg-info .mypy_cache .pytest_cache .ruff_cache .coverage build dist site
