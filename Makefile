# The two commands: `make demo` and `make test`. Everything they need, they install.
SHELL := /bin/bash
PY := .venv/bin/python

.PHONY: env packages
packages:
	@images/install-host-packages

env: .venv/.made

.venv/.made: pyproject.toml
	@test -x $(PY) || python3.11 -m venv .venv || python3 -m venv .venv
	@.venv/bin/pip install -q -e '.[dev]'
	@touch $@
