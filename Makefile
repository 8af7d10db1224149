# make demo    track the bunny in the clip that comes with masklet
# make test    style, types and tests
# make bench   measure this machine
# make training-sources SOURCES=DIR    fetch and pack the free pictures that training uses (Debian or Ubuntu, npm)
# PYTHON=/path/to/python3 chooses the Python; otherwise scripts/find-python.sh does.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
# Python compiles a module when it is first used; most of what is installed never is.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
DEMO := out/demo
CLIP := src/masklet/data/bunny.mp4

.PHONY: help demo test lint pytest bench training-sources setup setup-dev clean
.DEFAULT_GOAL := help

# The tests begin Python many times: what it compiled the first time is kept, whatever the environment says.
export PYTHONDONTWRITEBYTECODE :=

# Style and types are judged beside the tests, and Python's packages are installed beside the system's.
MAKEFLAGS += --jobs=2

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

# A stamp is newer than what it depends on, so that a second run installs nothing.
$(BIN)/python:
	@python=$$(PYTHON="$(PYTHON)" sh scripts/find-python.sh) && echo "Setting up $(VENV) with $$python" && "$$python" -m venv $(VENV)
	@# The pip that comes with an older Python takes twice as long to find what fits together.
	@$(INSTALL) --upgrade pip

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@$(INSTALL) -e '.[studio]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@$(INSTALL) -e '.[dev]'
	@touch $@ $(VENV)/.installed

$(VENV)/.system-packages: scripts/system-packages.sh | $(BIN)/python
	@sh scripts/system-packages.sh
	@touch $@

setup: $(VENV)/.installed
setup-dev: $(VENV)/.installed-dev

demo: setup
	@$(BIN)/masklet track $(CLIP) --box bunny:290,45,615,638 --frame 99 --direction backward \
		--output $(DEMO) --overwrite
	@echo "Watch $(CURDIR)/$(DEMO)/overlay.mp4"

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint pytest

pytest: setup-dev $(VENV)/.system-packages
	$(BIN)/pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder

bench: setup-dev
	$(BIN)/python -m benchmarks

training-sources: setup-dev
	@test -n "$(SOURCES)" || { echo "say where: make training-sources SOURCES=~/masklet-sources"; exit 2; }
	$(BIN)/python tools/fetch_training_sources.py --output "$(SOURCES)"

clean:
	rm -rf $(VENV) out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
