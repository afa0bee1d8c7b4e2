# Everything in two commands: `make demo` and `make test`. Both may be interrupted and repeated: each step of the
# set-up leaves a stamp in the virtual environment when it has succeeded, and is not done again.
#
#   make venv VENV=/tmp/venv                     another place for the virtual environment
#   make venv TORCH='torch==2.6.0 torchvision==0.21.0 --index-url https://download.pytorch.org/whl/cu124'
#   make test PYTEST_ARGS='tests/compat -x'      a part of the tests

VENV ?= .venv
PYTHON ?= $(shell command -v python3.11 || command -v python3)
# Installed together, and first, so that nothing else chooses versions that do not fit each other.
TORCH ?= torch==2.14.1 torchvision==0.29.1
PYTEST_ARGS ?=
# Two processes with a thread each are faster than one with two: most tests are too small for threads.
WORKERS ?= -n 2 --dist loadfile

BIN := $(abspath $(VENV))/bin

.PHONY: help demo test lint docs venv clean

help:
	@echo 'make demo   install, make synthetic pairs, train a narrow OCCO on them, test it: see demo/output'
	@echo 'make test   install and run the whole test suite'
	@echo 'make lint   check style and format'
	@echo 'make docs   build the documentation into build/docs, with warnings as errors'
	@echo 'make venv   install only, into $(VENV)'
	@echo 'make clean  remove what builds, tests and the demo leave (not $(VENV))'

demo: venv
	PATH="$(BIN):$$PATH" bash demo/run.sh

test: venv
	"$(BIN)/python" -m pytest $(WORKERS) $(PYTEST_ARGS)

lint: venv
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .

docs: $(VENV)/.stamp-docs
	"$(BIN)/python" -m sphinx -b html -W --keep-going -q docs build/docs
	@echo 'build/docs/index.html'

venv: $(VENV)/.stamp-installed

$(VENV)/.stamp-created:
	"$(PYTHON)" -m venv --clear "$(VENV)"
	touch "$@"

$(VENV)/.stamp-torch: $(VENV)/.stamp-created
	"$(BIN)/python" -m pip install $(TORCH)
	touch "$@"

$(VENV)/.stamp-installed: $(VENV)/.stamp-torch setup.py pyproject.toml $(wildcard requirements/*.txt)
	"$(BIN)/python" -m pip install 'setuptools<80.9' wheel
	"$(BIN)/python" -m pip install -e '.[lite,tests]'
	touch "$@"

$(VENV)/.stamp-docs: $(VENV)/.stamp-installed requirements/docs.txt
	"$(BIN)/python" -m pip install -r requirements/docs.txt
	touch "$@"

clean:
	rm -rf build dist mmfusion.egg-info .pytest_cache .ruff_cache demo/output
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
