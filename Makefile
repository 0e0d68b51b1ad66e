# A fresh clone needs Python 3.11, pip and apt: every target sets up what it uses.
PYTHON ?= python3
JOBS ?= 2
T ?=
CASES ?=
BENCH ?=
CRASH ?=
SECONDS ?= 3600
SUITE ?= bookworm
SILENCE ?=
FUZZ ?= 120

BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist loadfile
FAST := -m "not guest and not vcsim"

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo setup test check coverage static bench crash soak silence fuzz fresh lock audit clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' Makefile

demo: ## boot a real guest through the vSphere API and show it
	@$(PYTHON) scripts/prepare.py demo
	@scripts/demo.sh

setup: ## install what the tests and checks need, into .venv and through apt
	@$(PYTHON) scripts/prepare.py test

test: setup static ## the checks, and all tests with guests and simulators; or T="contract faults"; CASES=all: every case
	$(PYTEST) --durations 20 $(if $(CASES),--every-case) $(T:%=tests/%)

check: setup static ## what to run before each commit: no guests, no simulators, no contract
	$(PYTEST) $(FAST) tests/unit tests/lab tests/guards tests/architecture

coverage: setup ## how much of the code the fast tests run: it may only rise (pyproject.toml)
	@rm -rf .build/coverage && mkdir -p .build/coverage
	$(BIN)/coverage run -m pytest -n $(JOBS) --dist loadfile $(FAST) tests/unit tests/lab
	@$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

static: setup
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: ## measure, and write docs/benchmarks.md
	@$(PYTHON) scripts/prepare.py bench
	.venv-bench/bin/python -m benchmarks $(BENCH)

crash: setup ## kill clients and servers at every call, and write docs/reliability.md; CRASH="--only resize"
	$(BIN)/python -m tests.crash --write $(CRASH)

soak: setup ## operations for an hour, or SECONDS=600: memory, threads and descriptors stay flat
	$(BIN)/python -m tests.crash.soak --seconds $(SECONDS)

silence: setup ## how long operations take whose server goes silent; SILENCE="--only stream"
	$(BIN)/python -m tests.faults.silent $(SILENCE)

fuzz: ## feed broken images to every reader for two minutes, or FUZZ=3600: findings become tests
	@$(PYTHON) scripts/prepare.py fuzz
	.venv-fuzz/bin/python -m tests.fuzz --seconds $(FUZZ)

fresh: ## make demo and make test on a machine that has nothing; SUITE=trixie, PYTHON=/path
	@python3 scripts/prepare.py fresh
	@python3 scripts/fresh.py --suite $(SUITE) $(if $(filter command%,$(origin PYTHON)),--python $(PYTHON))

lock: ## lock what demo and tests install, anew: requirements/*.lock
	@$(PYTHON) scripts/lock.py write

audit: ## ask whether anything locked is known to be unsafe
	@$(PYTHON) scripts/lock.py audit

clean: ## remove what the targets made, the virtual environments left out
	rm -rf .build .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache dist
	find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
