# The two commands of the README are `make demo` and `make test`; the others are for those who change the code.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: setup models demo test lint schemas battery bench clean

setup: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --upgrade --quiet "pip>=25.1"
	$(BIN)/python -m pip install --editable ".[dev]"
	touch $(STAMP)

models: setup
	$(BIN)/edge-node model pull

demo: setup
	$(BIN)/edge-node demo

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint models
	$(BIN)/coverage run -m pytest tests
	$(BIN)/coverage report --skip-covered --fail-under=85

# Takes hours. One row: make battery ROWS="-k power_cut"; the table gathers in $(BATTERY_REPORT).json and .md.
BATTERY_REPORT ?= battery
ROWS ?=

battery: setup
	BATTERY=large BATTERY_REPORT=$(BATTERY_REPORT) $(BIN)/python -m pytest tests/battery -o timeout=0 $(ROWS)

bench: models
	$(BIN)/edge-node bench message --json
	$(BIN)/edge-node bench bus --json
	$(BIN)/edge-node bench rules --json
	$(BIN)/edge-node bench knowledge --json
	$(BIN)/edge-node bench engine --json

schemas: setup
	$(BIN)/edge-node check --write-schemas config

clean:
	rm -rf $(VENV) .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis
