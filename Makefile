# Two commands on a fresh machine: `make serve` (server on the sample data) and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
HOST ?= 127.0.0.1
PORT ?= 8000
STUDIES ?= sample-data
STAMP := $(VENV)/.installed-$(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)

ORTHANC_PLUGIN := /usr/share/orthanc/plugins/libOrthancDicomWeb.so

.PHONY: help install serve shell test test-fast test-full-size test-long test-dicom orthanc lint docs format sample-data clean

help:
	@echo "make serve      set everything up and serve sample-data/ on http://$(HOST):$(PORT)"
	@echo "make shell      a shell in which the command fetaliqa is found"
	@echo "make test       set everything up and run every check and test"
	@echo "make test-fast  tests without the full-size model"
	@echo "make test-dicom tests on a real DICOM archive; installs Orthanc with apt-get where it is missing"
	@echo "make lint       formatting, lint, types, spelling and vocabulary"
	@echo "make docs       the documentation, into build/site"

install: $(STAMP)

$(STAMP):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' || { echo "Python 3.11 or later is needed (3.11 is tested); set PYTHON=..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
	  echo "installing the venv package"; apt-get update -qq && apt-get install -y -qq python3-venv && $(PYTHON) -m venv $(VENV); }
	@echo "installing dependencies into $(VENV) (several minutes and about 9 GB the first time)"
	@$(BIN)/python -m pip install -q --upgrade pip
	@$(BIN)/python -m pip install -q -c constraints.txt -e '.[server,train,dev]'
	@rm -f $(VENV)/.installed-*
	@touch $@

serve: install
	@echo "The command fetaliqa: run 'make shell' in another terminal, or '. $(BIN)/activate'."
	$(BIN)/python -m monailabel_app.serve --studies $(STUDIES) --host $(HOST) --port $(PORT)

shell: install
	@echo "fetaliqa is found in this shell; leave it with 'exit'"
	@PATH="$(abspath $(BIN)):$$PATH" VIRTUAL_ENV="$(abspath $(VENV))" $${SHELL:-/bin/sh} || true

test: lint docs test-fast test-full-size

# One torch thread per worker: two workers share the cores instead of fighting over them.
test-fast: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not full_size and not orthanc and not long" -q

test-full-size: install
	$(BIN)/python -m pytest -m full_size -q

# What repeats at length what other tests check; not part of `make test`.
test-long: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m long -q

# The tests start an Orthanc of their own, on a free port and an empty storage.
test-dicom: install orthanc
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m orthanc -q tests/dicomweb

# Debian starts the package as a service on port 8042, open to whoever is on this machine: it is stopped.
orthanc:
	@{ command -v Orthanc && test -e $(ORTHANC_PLUGIN); } >/dev/null || { \
	  test "$$(id -u)" = 0 && command -v apt-get >/dev/null || { \
	    echo "Orthanc is missing: as root on Debian or Ubuntu, apt-get install orthanc orthanc-dicomweb"; exit 1; }; \
	  echo "installing Orthanc"; apt-get update -qq; \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq orthanc orthanc-dicomweb >/dev/null || { \
	    echo "Orthanc could not be installed: see what apt-get says above"; exit 1; }; \
	  service orthanc stop >/dev/null 2>&1; update-rc.d orthanc disable >/dev/null 2>&1; true; }

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/python tools/vocabulary.py

# Strict: a broken link or anchor, or a page that would load anything from another host, is an error. (With --quiet mkdocs
# counts no warnings, and is not strict.)
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

sample-data: install
	$(BIN)/fetaliqa demo data

clean:
	rm -rf $(VENV) build dist *.egg-info
