# make setup, then make demo. Needs nothing but Python 3.11 or newer (with venv) and make.
.DELETE_ON_ERROR:
.PHONY: setup setup-dev peers demo docs test test-all stack bench lint lock clean

PYTHON ?= python3
VENV := $(CURDIR)/.venv
BIN := $(VENV)/bin
# --no-deps: the lock is complete, so pip has nothing to resolve; --no-compile: Python compiles what it imports
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --no-compile --prefer-binary
SPEC ?= examples/nhefs.toml
BENCH ?= distance

export PATH := $(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

setup: $(VENV)/.runtime
setup-dev: $(VENV)/.development
peers: $(VENV)/.peers

$(VENV)/.python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "waymint needs Python 3.11 or newer: make setup PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	touch $@

# The second install finds torch installed and adds only what this platform's build of it needs beyond the lock.
$(VENV)/.runtime: requirements.lock pyproject.toml | $(VENV)/.python
	@echo "installing $$(grep -c == requirements.lock) pinned packages into $(VENV): some minutes the first time"
	$(PIP) --no-deps -r requirements.lock
	$(PIP) -c requirements.lock "$$(grep '^torch==' requirements.lock)"
	$(PIP) --no-deps --no-build-isolation -e .
	$(BIN)/python -m pip check
	touch $@

$(VENV)/.development: requirements-dev.lock $(VENV)/.runtime
	$(PIP) --no-deps -r requirements-dev.lock
	$(BIN)/python -m pip check
	touch $@

# DoubleML, EconML, lifelines and zEpid: what estimates are compared with in tests/peers and benchmarks/estimators.py
$(VENV)/.peers: requirements-peers.lock $(VENV)/.development
	$(PIP) --no-deps -r requirements-peers.lock
	$(BIN)/python -m pip check
	touch $@

demo: setup
	$(BIN)/waymint release $(SPEC)
	@echo
	@echo "All releases so far: the data is in the folder 'data' beside each report."
	@find releases -path '*/v*/report.html' | sort

# The documentation as a site, in build/site; a broken link or heading is an error
docs: setup-dev
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/site
	@echo "build/site/index.html"

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --severity-level medium --recursive waymint flows tasks infra
	$(BIN)/python .ci/sbom.py

# files in their order, the long ones (flow, integration) before the short ones: two processes end together
test: lint
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder --junitxml=build/tests.xml
	$(BIN)/python .ci/left_out.py build/tests.xml

test-all: lint peers
	$(BIN)/python -m pytest --junitxml=build/tests.xml
	$(BIN)/python .ci/left_out.py build/tests.xml

# The site of infra/compose.yaml as processes on loopback, until Ctrl-C. Needs Postgres (Debian: postgresql).
stack: setup-dev
	$(BIN)/python -m tests.stack

bench: setup-dev
	$(BIN)/python -m benchmarks.$(BENCH)

# Resolves pyproject.toml anew, in an environment of its own, and writes the lock files: the peers' last, beside the other pins.
lock:
	rm -rf build/lock
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet -e ".[dev,networks,xgboost,plot]" "setuptools>=77" packaging
	build/lock/bin/python .ci/lock.py
	build/lock/bin/python -m pip install --quiet -c requirements.lock -c requirements-dev.lock -e ".[peers,networks,xgboost,plot]"
	build/lock/bin/python .ci/lock.py peers

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
