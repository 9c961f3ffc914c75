# `make` prints what there is to make. Everything is installed into $(VENV); nothing else on the machine is touched.
PYTHON ?= python3
VENV   ?= .venv
DEMO   ?= demo
BIN    := $(VENV)/bin
RUN    := $(BIN)/python
BENCH  ?= beats_speed pipeline backends encoders

.DEFAULT_GOAL := help
unexport PYTHONDONTWRITEBYTECODE  # the tests start some hundred programs, which would all compile the package again
.PHONY: help install demo serve-demo test check lint types docs bench clean

help: ## print this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/installed ## a virtual environment with echobank and everything its tests need

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: install ## synthetic machines, preprocess, train, infer, official scoring, report: about two minutes
	$(RUN) -m echobank synth --out $(DEMO)/data
	$(RUN) scripts/preprocess.py --dcase_root $(DEMO)/data --config configs/demo.yaml
	$(RUN) scripts/train_knn.py --config configs/demo.yaml
	$(RUN) scripts/infer.py --config configs/demo.yaml
	$(RUN) -m echobank report --results $(DEMO)/results
	$(RUN) scripts/dcase_task2_scoring.py --results $(DEMO)/results
	@echo "report: $(DEMO)/results/report.html"

serve-demo: install ## the service with synthetic machines, one of which develops a fault while you look
	$(RUN) scripts/serve_demo.py --out $(DEMO)/serve

test: install ## the whole test suite; it may skip only for the reasons that tests/ci/environments.toml gives
	OMP_NUM_THREADS=1 ECHOBANK_TEST_ENVIRONMENT=$${ECHOBANK_TEST_ENVIRONMENT-clone} $(RUN) -m pytest -q -n auto --dist worksteal

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

check: lint types test ## what CI runs: ruff, mypy and the test suite

docs: install ## the documentation as a site: site/index.html
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --quiet

bench: install ## the benchmarks that need nothing but this checkout; each prints ratios against a named rival
	for name in $(BENCH); do echo "== benchmarks/$$name.py"; $(RUN) benchmarks/$$name.py || exit 1; done

clean: ## remove the demo and the caches, keep the virtual environment
	rm -rf $(DEMO) site .pytest_cache .mypy_cache .ruff_cache build dist
