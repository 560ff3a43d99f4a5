PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format bench

help:    ## Show this list
	@grep -hE '^[a-z]+: .*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(VENV)/.ready ## Create .venv with the pinned packages

$(VENV)/.ready: constraints.txt pyproject.toml
	@cat tasks/models/GEMMA_NOTICE.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[demo,team,dev]'
	@touch $@

demo: setup   ## Fine-tune Gemma 3 270M on ICD-10 terms, with proof (15 to 20 minutes on 2 cores)
	$(BIN)/burnish finetune --recipe configs/icd10.yaml

test: setup   ## Run every test
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

check: setup  ## Lint, types and import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup  ## Print the figures of benchmarks/ (coverage, false alarms, detection)
	$(BIN)/python -m benchmarks.statistics
	$(BIN)/python -m benchmarks.detection
