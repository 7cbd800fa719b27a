# Two commands on a fresh machine: `make demo` and `make test`. Each builds .venv first.
# `make paper` reproduces the paper: PRESET=laptop DATA=folder for CIFAR-10, in place of digits.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo paper test lint clean

demo: $(STAMP)
	$(BIN)/python examples/robustness_sweep.py --output demo

PRESET ?= quick
paper: $(STAMP)
	$(BIN)/python examples/reproduce_paper.py --preset $(PRESET) $(if $(DATA),--data $(DATA)) --output report

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 $(PYTEST_ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf $(VENV) demo report build dist .pytest_cache .ruff_cache

# constraints.txt is the known-good set; pyproject.toml holds the wide ranges.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet "torch==$$(sed -n 's/^torch==//p' constraints.txt)"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@
