# Two commands need nothing but make, git and Python 3.11 with venv: `make demo` and `make test`.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: setup demo test soak lint format types imports unit integration bench audit lock docs completions clean

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
	  echo "make: $(PYTHON) with venv is needed (Debian: apt-get install python3.11-venv)" >&2; exit 1; }
	@echo "installing the pinned packages into $(VENV) (hashes are checked)"
	@# --no-deps: the lock is the whole answer; asked again, pip takes a newer coverage for coverage[toml]
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@# commands/ is installed as aeterna_cli.commands: setuptools warns of that, whatever one does
	@PYTHONWARNINGS='ignore:Editable installation' \
	  $(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m pip check --disable-pip-version-check >/dev/null || { \
	  echo "make: requirements.lock lacks something that a package of it needs: make lock" >&2; exit 1; }
	@touch $@

demo: setup
	@$(BIN)/aeterna-cli lab demo

# lint, types and layers first: they fail in seconds. pytest comes last, so its line is the last one.
test: setup
	@$(MAKE) --no-print-directory lint
	@$(BIN)/python -m pytest -n 2 --dist loadfile

# What takes minutes and is tried at its worst points by `make test` already.
soak: setup
	@$(BIN)/python -m pytest -m soak

lint: setup
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

unit: setup
	@$(BIN)/python -m pytest tests/unit

bench: setup
	@$(BIN)/python -m tests.bench

audit: setup
	@$(BIN)/python -m tests.audit

lock:
	@$(BIN)/uv pip compile --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --no-header --no-annotate --python-version 3.11 --extra lab --group dev pyproject.toml -o requirements.lock

docs completions: setup
	@$(BIN)/python -m aeterna_cli.commands.completion

clean:
	@test ! -x $(BIN)/aeterna-cli || $(BIN)/aeterna-cli lab down || true
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
