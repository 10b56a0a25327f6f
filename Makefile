# SparseAttnNet: `make` lists what there is. GNU Make 3.81 or later, Linux or macOS, Python 3.11 to 3.13.
.DEFAULT_GOAL := help
.PHONY: help paper remake converged full bench grid test widgets lab read student demo test-demo site test-site export clean-notebooks readme lint venv
.SUFFIXES:
SHELL := /bin/sh

PYTHON ?=
PROFILE ?= quick
# The options that every run takes: the fields of RunSpec in nbs/learn/run.ipynb, in capitals; a test holds the two together.
RUN_OPTIONS := SOURCE SIMULATOR PROTOCOL SIZE ONLY DROP TOO_FEW ON_BAD LABELS_CSV GROUP_COLUMN GROUP_PATTERN CHANNELS MODALITY PIXEL_UM AUGMENT DEVICE
OPTIONS := DATA DATASETS $(RUN_OPTIONS) MODELS SEEDS ARTEFACTS
export PYTHON PROFILE $(OPTIONS) STUDY ARMS SHARE AT_ONCE PUBLISH RUN
# Turns the options that are set into arguments: TOO_FEW=drop into --too-few drop, for Snakemake into too-few=drop.
NAME = $$(printf %s "$$o" | tr A-Z_ a-z-)
FLAGS = for o in $(OPTIONS) STUDY ARMS SHARE AT_ONCE; do eval "v=\$$$$o"; [ -z "$$v" ] || set -- "$$@" "--$(NAME)" "$$v"; done
CONFIG = for o in $(OPTIONS); do eval "v=\$$$$o"; [ -z "$$v" ] || set -- "$$@" "$(NAME)=$$v"; done
# uv looks for local wheels where pip does; empty on most machines.
UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
export UV_FIND_LINKS

PY := .venv/bin/python
BIN := PATH="$$PWD/.venv/bin:$$PATH"

# The stamp lies in .venv, holds the folder it was made for, and is written last: an installation that was stopped
# halfway, or a checkout that was moved, is begun anew.
MOVED := $(shell [ "$$(cat .venv/stamp 2>/dev/null)" = "$$(pwd -P)" ] || echo FORCE)
SITE_MOVED := $(shell [ "$$(cat .venv-site/stamp 2>/dev/null)" = "$$(pwd -P)" ] || echo FORCE)
.PHONY: FORCE
FORCE:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo 'make paper takes PROFILE=quick|smoke|converged  DATASETS=opd,holo,event,wbc  SOURCE=auto|simulated|real  DATA="folder of images"'
	@echo '           ONLY=…  DROP=…  TOO_FEW=stop|drop|train  ON_BAD=stop|skip  PROTOCOL=strict|random|paper|official  SIZE=…  SEEDS=…'
	@echo '           LABELS_CSV=…  GROUP_COLUMN=donor  GROUP_PATTERN=…  CHANNELS=brightfield,darkfield  MODALITY=…  PIXEL_UM=…'
	@echo '           MODELS=…  AUGMENT=auto|on|off  DEVICE=auto|cpu|cuda  SIMULATOR=options as JSON  PUBLISH=1 (put results into outputs/reference)'
	@echo '           ARTEFACTS="table 1,figure 9,leaks", train (trainings alone) or all: what stands in nbs/paper/manifest.toml'
	@echo '           STUDY=one_at_a_time|ksweep|edge|factorial  ARMS=…  SHARE=…  (train the runs of a study, draw nothing)'
	@echo '           AT_ONCE=jobs at a time, default as many as cores and memory bear, at most 4'
	@echo 'make grid  takes the same; make remake RUN=name trains a published run again'
	@echo 'make test  takes ONLY=part-of-a-notebook-path; make test-site takes PICTURES=folder   any target takes PYTHON=python3.12'

paper: .venv/stamp ## reproduce the paper's tables and figures into outputs/ (on your own images: DATA="folder")
	@set -- "$$PROFILE"; $(FLAGS); [ -z "$$PUBLISH" ] || set -- "$$@" --publish; $(BIN) $(PY) -m sparseattnnet.reproduce.main "$$@"

remake: .venv/stamp ## train one published run again and compare: RUN=name, from outputs/reference/runs.csv
	@$(BIN) $(PY) -m sparseattnnet.reproduce.main --remake "$$RUN"

converged: ## make paper with the paper's counts of images, thirty epochs and three seeds: days on a CPU
	@$(MAKE) --no-print-directory paper PROFILE=converged

full:
	@echo 'make full is now make converged: as many images, thirty epochs with augmentation instead of 150; nbs/paper/length.ipynb tests that length' >&2; exit 2

bench: .venv/stamp ## measure speed, every network in every engine, into outputs/tables/speed_*: leave the machine alone meanwhile
	@$(MAKE) --no-print-directory paper ARTEFACTS=speed

grid: .venv/stamp .venv-workflow/stamp ## the same by Snakemake, several jobs at a time: CORES=4 (workflow/README.md tells of clusters)
	@set -- profile="$$PROFILE"; $(CONFIG); \
	.venv-workflow/bin/snakemake --snakefile workflow/Snakefile --profile workflow/profiles/laptop $(if $(CORES),--cores $(CORES)) $(if $(UNLOCK),--unlock) --config "$$@"

.venv-workflow/stamp: workflow/requirements.txt $(MOVED) | .venv/stamp
	@set -e; rm -rf .venv-workflow; $(PY) -m venv .venv-workflow; \
	$(PY) -m uv pip install -q --python .venv-workflow/bin/python -r workflow/requirements.txt 2>/dev/null \
	  || .venv-workflow/bin/python -m pip install -q --disable-pip-version-check -r workflow/requirements.txt; \
	.venv-workflow/bin/snakemake --version >/dev/null; pwd -P > $@; echo '.venv-workflow is ready'

test: .venv/stamp ## run every check: export, clean, lint, README, pytest, notebooks, papermill
	@$(BIN) $(PY) tools/check.py $${ONLY:+--only "$$ONLY"}

widgets: .venv/stamp ## try the widgets in a headless browser: PICTURES=folder keeps screenshots (skips where there is no Chromium)
	@$(BIN) $(PY) -B tools/try_widgets.py $${PICTURES:+--pictures "$$PICTURES"}

lab: .venv/stamp ## open JupyterLab at the index
	@at=; [ ! -e nbs/index.ipynb ] || at=/tree/nbs/index.ipynb; \
	$(BIN) $(PY) -m jupyterlab $$([ "$$(id -u)" != 0 ] || echo --allow-root) --ServerApp.root_dir="$$PWD" --LabApp.default_url="/lab$$at"

read: .venv/stamp ## run the course in the order of its links, in a clean clone with its own .venv: KEEP=1 keeps the minutes
	@$(PY) -B tools/read_in_order.py $${KEEP:+--keep}

student: .venv/stamp ## the pages with exercises without their solutions, for a class, into a new folder: FOLDER=student
	@$(PY) -B tools/student.py "$${FOLDER:-student}"

demo: .venv/stamp ## build the demonstration in the browser into build/demo (needs Node and npm)
	@$(BIN) $(PY) -B tools/demo/build.py

test-demo: .venv/stamp ## build the demonstration and test it in headless Chromium: CHROMIUM=path names the browser
	@$(BIN) $(PY) -B tools/demo/check.py

site: .venv-site/stamp ## build the web site from the stored notebooks into build/site (with build/demo, if `make demo` made it)
	@.venv-site/bin/python -B tools/build_site.py

test-site: .venv-site/stamp ## open every page of build/site in headless Chromium: CHROMIUM=path names the browser
	@.venv-site/bin/python -B tools/test_site.py $(if $(PICTURES),--pictures "$(PICTURES)")

# The site needs nothing of the project's own environment: it reads the notebooks, and the package as text.
.venv-site/stamp: tools/site/requirements.txt $(SITE_MOVED)
	@set -e; p=$(PY); [ -x "$$p" ] || p="$${PYTHON:-python3}"; \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$$p is older than Python 3.11: name one with PYTHON=/path/to/python3.12" >&2; exit 1; }; \
	rm -rf .venv-site; "$$p" -m venv .venv-site; \
	.venv-site/bin/python -m pip install -qq --disable-pip-version-check -r tools/site/requirements.txt; \
	.venv-site/bin/python -c 'import sphinx, myst_nb, sphinx_book_theme'; pwd -P > $@; echo '.venv-site is ready'

export: .venv/stamp ## write the package sparseattnnet/ from the notebooks
	@$(BIN) $(PY) .venv/bin/nbdev_export && echo 'sparseattnnet/ is written from nbs/'

clean-notebooks: .venv/stamp ## remove run counts and private metadata from the notebooks (tags and outputs stay)
	@$(BIN) $(PY) .venv/bin/nbdev_clean && echo 'nbs/ is clean'

readme: .venv/stamp ## write the tables of nbs/contents.ipynb, and render README.md from nbs/index.ipynb
	@$(PY) -B tools/course.py --write && $(PY) -B tools/equations.py --write && $(PY) -B tools/artefacts.py --write && $(PY) -B tools/readme.py

lint: ## check the house style of the notebooks (needs Python alone)
	@p=$(PY); [ -x "$$p" ] || p="$${PYTHON:-python3}"; "$$p" -B tools/lint_notebooks.py

venv: .venv/stamp ## make or refresh .venv, which every other target does by itself

.venv/stamp: requirements.txt constraints.txt pyproject.toml settings.ini $(MOVED)
	@t0=$$(date +%s); set -e; py=; \
	ok='import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'; \
	if [ -n "$$PYTHON" ]; then set -- "$$PYTHON"; else set -- python3.13 python3.12 python3.11 python3; fi; \
	for p in "$$@"; do if "$$p" -c "$$ok" >/dev/null 2>&1; then py="$$p"; break; fi; done; \
	if [ -z "$$py" ]; then \
	  echo "No usable Python among: $$*. Needed is 3.11, 3.12 or 3.13 with its venv module (Debian, Ubuntu: apt install python3-venv)." >&2; \
	  echo 'Name one with: make PYTHON=/path/to/python3.12' >&2; exit 1; \
	fi; \
	if [ "$$(cat .venv/stamp 2>/dev/null)" = "$$(pwd -P)" ] && $(PY) -c "$$ok" 2>/dev/null; then \
	  rm -f .venv/stamp; echo 'Refreshing .venv: a list of packages has changed'; \
	else \
	  echo "Making .venv with $$("$$py" --version): some minutes the first time, for the downloads"; rm -rf .venv; "$$py" -m venv .venv; \
	fi; \
	if $(PY) -m pip install -qq --disable-pip-version-check -c constraints.txt uv \
	   && $(PY) -m uv pip install -q --python $(PY) -c constraints.txt -r requirements.txt; then :; else \
	  echo 'uv cannot do it here: installing with pip instead'; \
	  $(PY) -m pip install -q --disable-pip-version-check -c constraints.txt -r requirements.txt; \
	fi; \
	$(PY) -c 'import torch, nbdev, papermill, sparseattnnet'; \
	pwd -P > .venv/stamp; echo ".venv is ready ($$(( $$(date +%s) - t0 )) s)"
