# Every target sets up what it needs in .venv; a second run finds the stamp and starts at once.
#
#   make demo                      swap a face in a clip of an animated portrait
#   make test                      the tests; test-slow and test-gpu are the ones it leaves out
#   make lint                      ruff and mypy
#   make docs                      the documentation as a site, in site/
#   make clean                     remove .venv and everything that can be made again
#
# PYTHON=/path/to/python3.12       the interpreter; default: the first of python3.12, 3.13, 3.14, 3.11
# TORCH_INDEX=URL                  an extra package index, for a build of torch without CUDA:
#                                  https://download.pytorch.org/whl/cpu
# TEST_FLAGS="-k words"            for pytest
# TEST_PROCESSES=4                 that the tests are spread over; default: 2

# The first of the usual names that really starts a Python that will do.
ifeq ($(origin PYTHON),undefined)
PYTHON := $(shell for name in python3.12 python3.13 python3.14 python3.11 python3; do \
	$$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' \
	2>/dev/null && { echo $$name; break; }; done)
endif
TORCH_INDEX ?=
TEST_FLAGS ?=
TEST_PROCESSES ?= 2

# Named, because ruff would format the code in Markdown too.
PYTHON_CODE := cli.py vidswap pipelines tests

VENV := .venv
PIP := $(VENV)/bin/python -m pip install --disable-pip-version-check --no-input --quiet \
	$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
DEMO_STAMP := $(VENV)/.ready-demo
TEST_STAMP := $(VENV)/.ready-test
DOCS_STAMP := $(VENV)/.ready-docs
NEXT := echo "next: $(VENV)/bin/vidswap run source.jpg target.mp4 -o out.mp4"

.PHONY: demo test test-slow test-gpu lint docs clean check
.DELETE_ON_ERROR:

demo: check $(DEMO_STAMP)
	@$(VENV)/bin/python -m pipelines.demo
	@$(NEXT)

test: check $(TEST_STAMP)
	@$(VENV)/bin/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder $(TEST_FLAGS)
	@$(NEXT)

test-slow: check $(TEST_STAMP)
	@$(VENV)/bin/python -m pytest -m slow $(TEST_FLAGS)

test-gpu: check $(TEST_STAMP)
	@$(VENV)/bin/python -m pytest -m gpu $(TEST_FLAGS)

lint: check $(TEST_STAMP)
	@$(VENV)/bin/ruff check $(PYTHON_CODE)
	@$(VENV)/bin/ruff format --check $(PYTHON_CODE)
	@$(VENV)/bin/mypy

docs: check $(DOCS_STAMP)
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet
	@echo "open site/index.html"

clean:
	rm -rf $(VENV) demo site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# Nothing is downloaded before this has passed.
check:
	@test -n "$(PYTHON)" || { echo "vidswap: Python 3.11 to 3.14 is required and was not found;" \
		"install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -m pipelines.check_system

$(VENV)/bin/python: | check
	@echo "setting up $(VENV); the first time takes a few minutes" >&2
	@$(PYTHON) -m venv $(VENV)

$(DEMO_STAMP): requirements.txt pyproject.toml | $(VENV)/bin/python
	@$(PIP) -r requirements.txt
	@$(PIP) --no-deps --editable .
	@$(VENV)/bin/python -m pipelines.headless_opencv
	@touch $@

$(TEST_STAMP): requirements-test.txt $(DEMO_STAMP)
	@$(PIP) -r requirements.txt -r requirements-test.txt
	@$(VENV)/bin/python -m pipelines.headless_opencv
	@touch $@

$(DOCS_STAMP): requirements-docs.txt | $(VENV)/bin/python
	@$(PIP) -r requirements-docs.txt
	@touch $@
