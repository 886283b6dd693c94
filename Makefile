# `make study` and `make test` do everything, on a machine with Python and make alone.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help locked study test test-all lint bench gpu faults fuzz results clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python >= 3.11 is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,bench,study,jax]'
	@touch $@

locked: ## install on Linux as CI does: only files with the hashes of .github/locked.txt, and torch
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps --only-binary :all: -r .github/locked.txt
	$(BIN)/python -m pip install --quiet $(if $(TORCH_CPU_INDEX),--index-url '$(TORCH_CPU_INDEX)') --only-binary :all: -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $(STAMP)

study: $(STAMP) ## check the pairs, train both panels, build the site: open out/index.html
	$(BIN)/diptych study

# two workers of one thread each: more threads than cores only wait for each other
test: $(STAMP) ## the whole suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

test-all: $(STAMP) ## the whole suite, with all situations on the pretended CUDA device
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal --all-situations

lint: $(STAMP) ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(STAMP) ## NumPy, torch eager and compiled, CUDA where there is one
	$(BIN)/python -m pytest -p no:xdist benchmarks -o addopts= -o 'python_files=bench_*.py' --benchmark-only --benchmark-group-by=group

gpu: $(STAMP) ## measure one GPU, into out/gpu: parity, times, trainings; DEVICE=cpu rehearses it
	benchmarks/gpu_report.sh out/gpu --device $(or $(DEVICE),cuda)

faults: $(STAMP) ## plant faults in copies of the checkout; every one must be noticed
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/faults.py

fuzz: $(STAMP) ## give every reader of files 20000 changed inputs; none may crash it
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/fuzz.py

results: $(STAMP) ## make the tables of README.md and docs/ from benchmarks/results
	$(BIN)/python -m diptych.runs.results

clean: ## delete what make created
	rm -rf $(VENV) out
