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
# TORCH=cpu: PyTorch without CUDA, from a lock file of its own that git ignores; an environment keeps its choice
TORCH ?= $(shell cat $(VENV)/.torch 2>/dev/null)
# EXTRAS=cluster: Ray besides, from a lock file of its own; an environment keeps this choice as well
EXTRAS ?= $(shell cat $(VENV)/.extras 2>/dev/null)
LOCK := requirements$(EXTRAS:%=-%)$(TORCH:%=-%).lock
BACKEND := $(TORCH:%=--torch-backend %)
READY := $(VENV)/.ready$(EXTRAS:%=-%)$(TORCH:%=-%)
COMMA := ,
SIZE := $(if $(TORCH),PyTorch for $(TORCH),PyTorch with CUDA$(COMMA) about 6 GB)
STEP := scripts/step.sh
ONLINE := check the network and the proxy, or name a mirror of the package index: UV_DEFAULT_INDEX=URL make $(MAKECMDGOALS)
# without MODEL the embedded entry: no download, no GPU, minutes
MODEL ?= shapes_faster_rcnn_r10_fpn
ARGS ?=

.PHONY: help
help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  make reproduce MODEL=faster_rcnn_r50_fpn_1x ARGS='data.root=DIR device=cpu'"

.PHONY: reproduce
reproduce: $(READY) ## run one published row and diff it: MODEL=..., ARGS='hydra overrides'
	@$(BIN)/python -m zoo.bench entry=$(MODEL) $(ARGS)
	@$(SHELL_LINE)

.PHONY: train
train: $(READY) ## train a row by its recipe, then evaluate it: MODEL=..., ARGS='hydra overrides'
	@$(BIN)/python -m zoo.bench entry=$(MODEL) run=train $(ARGS)

.PHONY: setup
setup: $(READY) ## the environment, from requirements.lock; TORCH=cpu: without CUDA; EXTRAS=cluster: Ray (docs/setup.md)
	@$(SHELL_LINE)

# what a shell needs to know `zoo`
SHELL_LINE := echo "zoo is in $(BIN); into this shell: . $(BIN)/activate"

$(READY): $(LOCK) pyproject.toml | $(UV)
	@rm -f $(VENV)/.ready*
	@test -x $(BIN)/python || $(STEP) "making $(VENV)" "install Python 3.11 or newer" $(UV) venv --python '$(PYTHON)' $(VENV)
	@$(STEP) "installing what $(LOCK) names into $(VENV) ($(SIZE))" "$(ONLINE)" \
		$(UV) pip sync $(BACKEND) --compile-bytecode --python $(BIN)/python --require-hashes $(LOCK)
	@$(STEP) "installing zoo itself" "report this" \
		$(UV) pip install --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@echo "$(TORCH)" > $(VENV)/.torch
	@echo "$(EXTRAS)" > $(VENV)/.extras
	@touch $@

.tools/bin/uv:
	@python3 -m venv .tools
	@$(STEP) "getting uv $(UV_VERSION), which installs the rest" "check the network, or install uv yourself" \
		.tools/bin/python -m pip install --disable-pip-version-check uv==$(UV_VERSION)

.PHONY: check
check: $(READY) ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# One process a core, a module of tests at a time: what its tests share is made once.
PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

.PHONY: test
test: $(READY) ## the tests, in minutes: ARGS='pytest options'
	$(PYTEST) -m 'not (nightly or gpu or network)' $(ARGS)

.PHONY: nightly
nightly: $(READY) ## the tests that take long and seldom fail alone
	$(PYTEST) -m 'nightly and not (gpu or network)' $(ARGS)

.PHONY: fuzz
fuzz: $(READY) ## every reader on 10,000 broken inputs, of which `make test` has the first 200
	ZOO_FUZZ=10000 $(PYTEST) tests/fuzz $(ARGS)

.PHONY: format
format: $(READY) ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: table
table: $(READY) ## regenerate results/tables; exit 1 if the committed ones differ
	@$(BIN)/zoo table --check || { $(BIN)/zoo table; exit 1; }

# Rows as `zoo run` takes them ('*' is every one), the device, and a folder of its own for what is measured.
ENTRIES ?= shapes
DEVICE ?= cpu
CI_DIR ?= outputs/ci-results
export ENTRIES

.PHONY: ci-results
ci-results: $(READY) ## measure rows again and hold them against results/, as the CI job does: ENTRIES, DEVICE, CI_DIR, ARGS
	@test ! -e $(CI_DIR) || case ' $(ARGS) ' in *' resume=true '*) ;; *) \
		echo 'error: $(CI_DIR) is there already, and would be mixed with what is measured now' >&2; \
		echo 'next: remove it, choose another CI_DIR, or go on in it with ARGS=resume=true' >&2; exit 2;; esac
	@set -f; $(BIN)/zoo run $$ENTRIES -m device=$(DEVICE) 'measure=[accuracy,complexity,speed,memory]' \
		results.dir=$(CI_DIR)/results hydra.sweep.dir=$(CI_DIR)/runs $(ARGS) || test $$? -eq 1
	@mkdir -p $(CI_DIR)/results # a sweep that found no device leaves none
	@test ! -d $(CI_DIR)/results/records || $(BIN)/zoo table --results-dir $(CI_DIR)/results
	@set -f; $(BIN)/zoo verify $(CI_DIR)/results $$ENTRIES --markdown $(CI_DIR)/results.md

.PHONY: report
report: $(READY) ## the report under results/report: HTML pages that open from disk
	@$(BIN)/zoo report

.PHONY: gpu-check
gpu-check: $(READY) ## everything that needs a GPU, in under 8 minutes on one card: ARGS='--only STEP'
	@$(BIN)/python scripts/gpu_check.py $(ARGS)

.PHONY: bench
bench: $(READY) ## performance against named peers, one command each
	@for file in benchmarks/[a-z]*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done
	@echo "== benchmarks/coco_eval.py --iou-type keypoints"; $(BIN)/python benchmarks/coco_eval.py --iou-type keypoints

# Every other lock has the versions of requirements.lock as far as it can. They name packages, never an address.
COMPILE = $(UV) pip compile --universal --generate-hashes --no-header --no-annotate --python-version 3.11 \
	--extra launchers --extra onnx --extra benchmarks --extra dev pyproject.toml
# here the choice of an environment that is there does not count
given = $(if $(filter command environment,$(firstword $(origin $1))),$($1))

.PHONY: lock
lock: | $(UV) ## resolve requirements.lock and requirements-cluster.lock anew; TORCH=cpu: requirements-cpu.lock
ifeq ($(call given,TORCH),)
	@$(STEP) "resolving requirements.lock" "$(ONLINE)" $(COMPILE) --upgrade --output-file requirements.lock
	@cp requirements.lock requirements-cluster.lock
	@$(STEP) "resolving requirements-cluster.lock" "$(ONLINE)" \
		$(COMPILE) --extra cluster --output-file requirements-cluster.lock
else
	@$(STEP) "resolving requirements-$(TORCH).lock" "$(ONLINE)" $(COMPILE) $(BACKEND) \
		--constraint requirements.lock --output-file requirements-$(TORCH).lock
endif

requirements-%.lock: requirements.lock pyproject.toml | $(UV)
	@$(STEP) "resolving $@" "$(ONLINE)" $(COMPILE) --torch-backend $* --constraint requirements.lock --output-file $@

requirements-cluster-%.lock: requirements-cluster.lock pyproject.toml | $(UV)
	@$(STEP) "resolving $@" "$(ONLINE)" $(COMPILE) --extra cluster --torch-backend $* \
		--constraint requirements-cluster.lock --output-file $@

# it is committed: `make lock` alone resolves it
requirements-cluster.lock: ;

.PHONY: clean
clean: ## remove the environment and caches
	rm -rf $(VENV) .tools .mypy_cache .pytest_cache .ruff_cache
