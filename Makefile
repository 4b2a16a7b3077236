# zoo: every command sets up what it needs. `make help` lists them.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
# uv of the machine, or one of our own in .tools/
UV := $(shell command -v uv 2>/dev/null || echo .tools/bin/uv)
UV_VERSION := 0.13.8
# trust what the system trusts (the second name is that of older versions)
export UV_SYSTEM_CERTS ?= 1
export UV_NATIVE_TLS ?= 1
PYTHON ?= >=3.11
# without MODEL the embedded entry: no download, no GPU, minutes
MODEL ?= shapes_faster_rcnn_r10_fpn
ARGS ?=

.PHONY: help
help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  make reproduce MODEL=faster_rcnn_r50_fpn_1x ARGS='data.root=DIR device=cpu'"

.PHONY: reproduce
reproduce: setup ## run one published row and diff it: MODEL=..., ARGS='hydra overrides'
	@$(BIN)/python -m zoo.bench entry=$(MODEL) $(ARGS)

.PHONY: train
train: setup ## train a row by its recipe, then evaluate it: MODEL=..., ARGS='hydra overrides'
	@$(BIN)/python -m zoo.bench entry=$(MODEL) run=train $(ARGS)

.PHONY: setup
setup: $(VENV)/.ready ## the environment, from requirements.lock

$(VENV)/.ready: requirements.lock pyproject.toml | $(UV)
	@echo "setting up $(VENV) (about 6 GB, most of it PyTorch)"
	@test -x $(BIN)/python || $(UV) venv --quiet --python '$(PYTHON)' $(VENV)
	@$(UV) pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

.tools/bin/uv:
	@echo "getting uv $(UV_VERSION)"
	@python3 -m venv .tools
	@.tools/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.PHONY: check
check: setup ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# One process a core, a module of tests at a time: what its tests share is made once.
PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

.PHONY: test
test: setup ## the tests, in minutes: ARGS='pytest options'
	$(PYTEST) -m 'not (nightly or gpu or network)' $(ARGS)

.PHONY: nightly
nightly: setup ## the tests that take long and seldom fail alone
	$(PYTEST) -m 'nightly and not (gpu or network)' $(ARGS)

.PHONY: format
format: setup ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: table
table: setup ## regenerate results/tables; exit 1 if the committed ones differ
	@$(BIN)/zoo table --check || { $(BIN)/zoo table; exit 1; }

.PHONY: report
report: setup ## the static HTML page under results/report
	@$(BIN)/zoo report

.PHONY: gpu-check
gpu-check: setup ## everything that needs a GPU, in under 8 minutes on one card: ARGS='--only STEP'
	@$(BIN)/python scripts/gpu_check.py $(ARGS)

.PHONY: bench
bench: setup ## performance against named peers, one command each
	@for file in benchmarks/[a-z]*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

.PHONY: lock
lock: | $(UV) ## resolve requirements.lock anew
	@$(UV) pip compile --quiet --upgrade --universal --generate-hashes --no-header --no-annotate --all-extras \
		--python-version 3.11 pyproject.toml --output-file requirements.lock

.PHONY: clean
clean: ## remove the environment and caches
	rm -rf $(VENV) .tools .mypy_cache .pytest_cache .ruff_cache
