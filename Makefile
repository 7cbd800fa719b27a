# Two commands on a fresh machine: `make demo` and `make test`. Each builds .venv first. `make docs` builds the site.
# `make paper` reproduces the paper: PRESET=laptop DATA=folder for CIFAR-10, in place of digits.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
MINIMUM := .venv-minimum
LATEST := .venv-latest

.PHONY: demo docs paper test test-kernels test-minimum test-latest release-check lint types types-public clean

demo: $(STAMP)
	$(BIN)/python examples/robustness_sweep.py --output demo

PRESET ?= quick
paper: $(STAMP)
	$(BIN)/python examples/reproduce_paper.py --preset $(PRESET) $(if $(DATA),--data $(DATA)) --output report

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 $(PYTEST_ARGS)

# What is numerically delicate once more, with the simplest kernels that torch has on any processor; but for the
# coverage of intervals, which hundreds of fits count, and no last bit decides.
DELICATE := tests/test_attacks.py tests/test_robustness.py tests/test_rounding.py tests/test_scorer.py \
	tests/test_plasticity.py tests/test_penalties.py tests/test_spectra.py
test-kernels: $(STAMP)
	ATEN_CPU_CAPABILITY=default $(BIN)/python -m pytest -n 2 $(DELICATE) -k "not covers_the_true_exponent" $(PYTEST_ARGS)

# At the lower bounds of pyproject.toml. Old neighbours may use what others of them call deprecated.
test-minimum: $(MINIMUM)/.installed
	$(MINIMUM)/bin/python -m pytest -n 2 -W ignore::DeprecationWarning $(PYTEST_ARGS)

# At the newest versions that pip finds.
test-latest: $(LATEST)/.installed
	$(LATEST)/bin/python -m pytest -n 2 $(PYTEST_ARGS)

# What a release needs beside an account: versions, changelog, archives, and the wheel in an empty environment.
release-check: $(STAMP)
	$(BIN)/python tests/check_release.py $(if $(TAG),--tag $(TAG))

# The site, from nothing and strictly: every warning is an error, every reference and every link inside is checked.
docs: $(STAMP)
	rm -rf docs/_build docs/api/generated docs/api/backreferences docs/benchmarks docs/gallery
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -j 2 -b html -W --keep-going -n docs docs/_build/html
	$(BIN)/python docs/check_links.py docs/_build/html

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# What an editor knows of the public names: all of it. pyright looks for torch where the environment is active.
types-public: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" VIRTUAL_ENV="$(CURDIR)/$(VENV)" $(BIN)/pyright --verifytypes sklearn_brm --ignoreexternal

# And the inside, as mypy reads it in its strict mode.
types: types-public
	$(BIN)/mypy

clean:
	rm -rf $(VENV) $(MINIMUM) $(LATEST) docs/_build demo report build dist .pytest_cache .ruff_cache

# $(call install,environment,constraints,what)
define install
	test -x $(1)/bin/python || $(PYTHON) -m venv $(1)
	$(1)/bin/python -m pip install --quiet --upgrade pip
	$(1)/bin/python -m pip install --quiet "$$(grep '^torch==' $(2) || echo torch)"
	$(1)/bin/python -m pip install --quiet --constraint $(2) --editable "$(3)"
	touch $@
endef

# constraints.txt is the known-good set; pyproject.toml holds the wide ranges.
$(STAMP): pyproject.toml constraints.txt
	$(call install,$(VENV),constraints.txt,.[dev])

# Made anew each time it is asked for: the newest versions of yesterday are not those of today.
.PHONY: $(LATEST)/.installed
$(LATEST)/.installed:
	rm -rf $(LATEST)
	$(call install,$(LATEST),/dev/null,.[test])

$(MINIMUM)/.installed: $(MINIMUM)/constraints.txt
	$(call install,$(MINIMUM),$<,.[test])

$(MINIMUM)/constraints.txt: pyproject.toml tests/minimum_versions.py
	mkdir -p $(MINIMUM)
	$(PYTHON) tests/minimum_versions.py > $@
