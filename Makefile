# The project's commands. Each prepares .venv by itself, once and again safely; nothing but Python 3.11+ is needed.

.DELETE_ON_ERROR:
SHELL := /bin/sh
# The first Python that is new enough; PYTHON=... chooses another.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	if "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$$p"; break; fi; done)
BIN := .venv/bin
TESTS ?=
# Two at a time, a file's tests in one process: the kill tests mostly wait for leases to run out.
TEST_PROCESSES ?= 2

.PHONY: help demo up test lint bench clean

help:
	@echo 'make demo    run the main job on a sample CRM, from nothing to the last e-mail, and show what happened'
	@echo 'make up      start database, Prefect server, deployments, workers and dashboard, and stay until Ctrl-C'
	@echo 'make test    the tests (TESTS="tests/test_x.py -k name" for some of them)'
	@echo 'make lint    linter, type checker, import rules'
	@echo 'make bench   the measurements of the README, on this machine'
	@echo 'make clean   remove .venv; the data in .data stays'

demo: .venv/ready
	@$(BIN)/python -m deployments.cli demo

up: .venv/ready
	@$(BIN)/python -m deployments.cli up

test: .venv/ready
	@$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile $(TESTS)

lint: .venv/ready
	$(BIN)/python -m ruff check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports

bench: .venv/ready
	@$(BIN)/python -m benchmarks

# The marker is written last, so an interrupted installation is done again.
.venv/ready: requirements.lock pyproject.toml
	@if [ -z "$(PYTHON)" ]; then \
		echo 'Python 3.11 or newer was not found. Install it, or name it: make PYTHON=/path/to/python3.12' >&2; exit 1; fi
	@echo "installing into .venv (once; $$($(PYTHON) --version)) ..."
	@$(PYTHON) -m venv --clear .venv || { \
		echo 'This Python cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv' >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch .venv/ready

clean:
	rm -rf .venv
