# The two commands: `make demo` and `make test`. Everything that they need, they install (Debian, PyPI and npm packages).
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PY := .venv/bin/python
# Debian's own is built with profiles of its use, and a fifth faster than one that somebody has built without.
PYTHON = $$(which /usr/bin/python3.11 python3.11 python3 | head -n 1)
STATE ?= var/demo
RUNTIME ?= auto
HOST_PACKAGES := packages/host.txt images/host-packages.txt

.PHONY: demo down test check bench packages test-packages env

demo: env  ## a whole zone on this machine
ifdef SIMULATED
	@.venv/bin/sysvm demo --state $(STATE) --simulated
else
	@packages/install $(HOST_PACKAGES)
	@.venv/bin/sysvm demo --state $(STATE) --runtime $(RUNTIME)
endif

down:  ## nothing of it is left
	@if [ -x .venv/bin/sysvm ]; then .venv/bin/sysvm down --state $(STATE); else echo "nothing is up"; fi

test: test-packages env check  ## all tests
	@.venv/bin/sysvm template build
	@tests/run $(ARGS)

check: env  ## what needs no machine: style, types, layers
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check -q .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-cache

bench: test-packages env  ## bench/results.json, and the table of the README
	@.venv/bin/pip install -q --disable-pip-version-check -e '.[dev,bench]'
	@$(PY) -m bench $(ARGS)

packages:
	@packages/install $(HOST_PACKAGES)

test-packages:
	@packages/install $(HOST_PACKAGES) packages/test.txt

env: .venv/.made

.venv/.made: pyproject.toml web/package-lock.json web/build
	@if ! command -v npm > /dev/null || ! $(PYTHON) -c 'import ensurepip' 2> /dev/null; then packages/install $(HOST_PACKAGES); fi
	@dpkg -s libvirt-dev > /dev/null 2>&1 || packages/install $(HOST_PACKAGES)
	@test -x $(PY) || $(PYTHON) -m venv .venv
	@.venv/bin/pip install -q --disable-pip-version-check -e '.[dev]'
	@web/build
	@touch $@
