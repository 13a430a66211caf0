# Two commands on a fresh machine: `make serve` (server on the sample data) and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
HOST ?= 127.0.0.1
PORT ?= 8000
STUDIES ?= sample-data
STAMP := $(VENV)/.installed-$(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)

# Tests start many processes: without bytecode on disk each of them compiles every module that it imports.
unexport PYTHONDONTWRITEBYTECODE

WANTED := -c constraints.txt -e '.[server,train,dev]'

# uv takes a quarter of pip's time. It does not read pip's settings, so it is told the package indexes named there.
# Nothing is compiled to bytecode ahead: of 29,000 modules a quarter is ever imported.
pip_setting = $$($(BIN)/python -m pip config list | sed -n "s/^\(global\|install\|:env:\)\.$(1)='\(.*\)'$$/\2/p" | tail -n 1)
UV_INSTALL = { \
  $(BIN)/python -m pip install -q -c constraints.txt uv && \
  index="$(call pip_setting,index-url)" more="$(call pip_setting,extra-index-url)" links="$(call pip_setting,find-links)" && \
  env UV_SYSTEM_CERTS=true UV_INDEX_STRATEGY=unsafe-best-match \
    $${index:+UV_DEFAULT_INDEX="$$index"} $${more:+UV_INDEX="$$more"} $${links:+UV_FIND_LINKS="$$links"} \
    $(BIN)/uv pip install -q --python $(BIN)/python $(WANTED); }

TSC := npx --yes --package typescript@5.9.3 tsc
ORTHANC_PLUGIN := /usr/share/orthanc/plugins/libOrthancDicomWeb.so
# an archive, and independent readers of our files: dsr2html and dsrdump of DCMTK, dciodvfy of dicom3tools
DICOM_PACKAGES := orthanc orthanc-dicomweb dcmtk dicom3tools

.PHONY: help venv install serve shell test selected-tests test-fast test-full-size test-long \
  test-dicom coverage orthanc chromium lint docs format sample-data clean

help:
	@echo "make serve      set everything up and serve sample-data/ on http://$(HOST):$(PORT)"
	@echo "make shell      a shell in which the command fetaliqa is found"
	@echo "make test       set everything up and run lint, the documentation's build and all tests but those of test-dicom and test-long"
	@echo "make test-fast  the tests that neither train nor start many processes, for use while you work"
	@echo "make test-dicom the tests on a real DICOM archive; installs Orthanc and DICOM tools with apt-get where they are missing"
	@echo "make test-long  the tests that repeat at length what others check; run every night"
	@echo "make coverage   all tests but those of test-dicom, with the share of lines that they execute"
	@echo "make lint       formatting, lint, types, imports, spelling and vocabulary"
	@echo "make docs       the documentation, into build/site"

install: $(STAMP)

venv: $(BIN)/python

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' || { echo "Python 3.11 or later is needed (3.11 is tested); set PYTHON=..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "installing the venv package"; apt-get update -qq && apt-get install -y -qq python3-venv && $(PYTHON) -m venv $(VENV); }

$(STAMP): | $(BIN)/python
	@echo "installing dependencies into $(VENV) (several minutes and about 9 GB the first time)"
	@$(UV_INSTALL) || { \
	  echo "uv could not install them; pip does, which takes longer"; \
	  $(BIN)/python -m pip install -q --upgrade pip && $(BIN)/python -m pip install -q $(WANTED); }
	@rm -f $(VENV)/.installed-*
	@touch $@

serve: install
	@echo "The command fetaliqa: run 'make shell' in another terminal, or '. $(BIN)/activate'."
	$(BIN)/python -m monailabel_app.serve --studies $(STUDIES) --host $(HOST) --port $(PORT)

shell: install
	@echo "fetaliqa is found in this shell; leave it with 'exit'"
	@PATH="$(abspath $(BIN)):$$PATH" VIRTUAL_ENV="$(abspath $(VENV))" $${SHELL:-/bin/sh} || true

# One torch thread per worker: two workers share the cores instead of fighting over them. Tests that share a server,
# and the tests of a file, run in one worker; tests/conftest.py groups them, and puts the longest first.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q
# Per cent of lines, those of child processes not counted; 90 without the tests of test-long on 2026-12-01.
COVERAGE_FLOOR ?= 88
SPREAD := -n 2 --dist loadfile --no-loadscope-reorder

# Lint and the documentation need one core, and tests of servers and processes often wait.
test: install chromium
	@$(MAKE) --no-print-directory -j2 lint docs selected-tests

# Which tests `make test` runs; continuous integration adds those of the archive.
SELECT ?= not orthanc and not long
selected-tests: install
	$(PYTEST) $(SPREAD) -m "$(SELECT)"

test-fast: install
	$(PYTEST) $(SPREAD) -m "not slow and not full_size and not orthanc and not long"

test-full-size: install
	$(BIN)/python -m pytest -m full_size -q

# What repeats at length what other tests check; not part of `make test`.
test-long: install
	$(PYTEST) -m long

coverage: install chromium
	$(PYTEST) $(SPREAD) -m "not orthanc" --cov=fetaliqa --cov=monailabel_app --cov-report=term:skip-covered \
	  --cov-fail-under=$(COVERAGE_FLOOR)

# The tests start an Orthanc of their own, on a free port and an empty storage.
test-dicom: install orthanc
	$(PYTEST) -m orthanc tests/dicomweb

# Debian starts the package as a service on port 8042, open to whoever is on this machine: it is stopped.
orthanc:
	@{ command -v Orthanc && test -e $(ORTHANC_PLUGIN) && command -v dsr2html && command -v dciodvfy; } >/dev/null || { \
	  test "$$(id -u)" = 0 && command -v apt-get >/dev/null || { \
	    echo "Orthanc or DICOM tools are missing: as root on Debian or Ubuntu, apt-get install $(DICOM_PACKAGES)"; exit 1; }; \
	  echo "installing Orthanc and DICOM tools"; apt-get update -qq; \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(DICOM_PACKAGES) >/dev/null || { \
	    echo "Orthanc and DICOM tools could not be installed: see what apt-get says above"; exit 1; }; \
	  service orthanc stop >/dev/null 2>&1; update-rc.d orthanc disable >/dev/null 2>&1; true; }

# For the tests of the page; without it they are skipped and say so. Not an error: elsewhere it may have another name.
chromium:
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || command -v chromium-browser >/dev/null || { \
	  test "$$(id -u)" = 0 && command -v apt-get >/dev/null || { \
	    echo "Chromium is missing, and the tests of the page are skipped: as root on Debian or Ubuntu, apt-get install chromium"; exit 0; }; \
	  echo "installing Chromium"; apt-get update -qq; \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null || \
	    echo "Chromium could not be installed, and the tests of the page are skipped: see what apt-get says above"; }

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/python tools/vocabulary.py
	@$(TSC) --version >/dev/null 2>&1 || { echo "types of the page are not checked: npx, or the npm registry, is missing"; exit 0; }; \
	  $(TSC) -p jsconfig.json

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
