# Two commands on a fresh machine: `make demo` and `make test`. Each builds .venv first.
# `make paper` reproduces the paper: PRESET=laptop DATA=folder for CIFAR-10, in place of digits.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
MINIMUM := .venv-minimum

.PHONY: demo paper test test-kernels test-minimum lint types types-public clean

demo: $(STAMP)
	$(BIN)/python examples/robustness_sweep.py --output demo

PRESET ?= quick
paper: $(STAMP)
	$(BIN)/python examples/reproduce_paper.py --preset $(PRESET) $(if $(DATA),--data $(DATA)) --output report

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 $(PYTEST_ARGS)

# What is numerically delicate once more, with the simplest kernels that torch has on any processor.
DELICATE := tests/test_attacks.py tests/test_robustness.py tests/test_rounding.py tests/test_scorer.py \
	tests/test_plasticity.py tests/test_penalties.py tests/test_spectra.py
test-kernels: $(STAMP)
	ATEN_CPU_CAPABILITY=default $(BIN)/python -m pytest -n 2 $(DELICATE) $(PYTEST_ARGS)

# At the lower bounds of pyproject.toml. Old neighbours may use what others of them call deprecated.
test-minimum: $(MINIMUM)/.installed
	$(MINIMUM)/bin/python -m pytest -n 2 -W ignore::DeprecationWarning $(PYTEST_ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# What an editor knows of the public names: all of it. pyright looks for torch where the environment is active.
types-public: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" VIRTUAL_ENV="$(CURDIR)/$(VENV)" $(BIN)/pyright --verifytypes sklearn_brm --ignoreexternal

types: types-public
	$(BIN)/mypy

clean:
	rm -rf $(VENV) $(MINIMUM) demo report build dist .pytest_cache .ruff_cache

# $(call install,environment,constraints,what)
define install
	test -x $(1)/bin/python || $(PYTHON) -m venv $(1)
	$(1)/bin/python -m pip install --quiet --upgrade pip
	$(1)/bin/python -m pip install --quiet "$$(grep '^torch==' $(2))"
	$(1)/bin/python -m pip install --quiet --constraint $(2) --editable "$(3)"
	touch $@
endef

# constraints.txt is the known-good set; pyproject.toml holds the wide ranges.
$(STAMP): pyproject.toml constraints.txt
	$(call install,$(VENV),constraints.txt,.[dev])

$(MINIMUM)/.installed: $(MINIMUM)/constraints.txt
	$(call install,$(MINIMUM),$<,.[test])

$(MINIMUM)/constraints.txt: pyproject.toml tests/minimum_versions.py
	mkdir -p $(MINIMUM)
	$(PYTHON) tests/minimum_versions.py > $@
