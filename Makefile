# Every target sets up what it needs; `make help` lists them.
.DEFAULT_GOAL := help
PYTHON ?= python3
# `python -m TOOL`, not bin/TOOL: a path with spaces breaks no shebang.
RUN := .venv/bin/python
MODULES := $(wildcard scripts/*-*.py)

.PHONY: help setup demo serve bench prove test test-2.0 test-2.0-lowest lint format types pages check-pages skill docs docs-serve wheel ci constraints clean

help: ## List the targets
	@grep -E '^[a-z0-9.-]+:.*## ' Makefile | sed -E 's/^([a-z0-9.-]+):.*## /\1\t/' | expand -t 17

setup: ## Make the environment .venv (the other targets do it by themselves)
	@$(PYTHON) tools/bootstrap.py

demo: setup ## Run every example on a throw-away PostgreSQL (make demo DEMO="sessions --sql")
	@$(RUN) -m examples $(DEMO)

test: setup ## Run the test suite, all drivers, on a throw-away PostgreSQL
	@$(RUN) -m pytest -n auto --maxprocesses 8 --dist worksteal $(TESTS)

test-2.0: ## The same on the newest SQLAlchemy 2.0
	@$(PYTHON) tools/bootstrap.py --line 2.0
	@.venv-2.0/bin/python -m pytest -n auto --maxprocesses 8 --dist worksteal $(TESTS)

test-2.0-lowest: ## The same on the lowest
	@$(PYTHON) tools/bootstrap.py --line 2.0-lowest
	@.venv-2.0-lowest/bin/python -m pytest -n auto --maxprocesses 8 --dist worksteal $(TESTS)

serve: setup ## Serve the desk over HTTP on a throw-away PostgreSQL
	@$(RUN) -m examples.fastapi_app

bench: setup ## Measure the patterns beside the alternatives (make bench BENCH="--quick search")
	@$(RUN) -m benchmarks $(BENCH)

prove: setup ## All long forms, for hours; then what is claimed and what was measured
	@$(RUN) -m tools.long_forms $(PROVE)

lint: setup ## Ruff, ShellCheck
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@.venv/bin/shellcheck .ci/* scripts/*.sh

types: setup ## mypy --strict and pyright
	@$(RUN) -m mypy
	@$(RUN) -m mypy scripts/validate_models
	@$(RUN) -m mypy scripts/test_connection
	@$(RUN) -m mypy scripts/generate_migration
	@for module in $(MODULES); do $(RUN) -m mypy "$$module" || exit 1; done
	@$(RUN) -m pyright

format: setup ## Let Ruff format and mend
	@$(RUN) -m ruff check --fix .
	@$(RUN) -m ruff format .

pages: setup ## Fill the generated parts of the pages out of the tested modules
	@$(RUN) -m tools.pages

check-pages: setup ## Fail where a generated part is not what the modules say
	@$(RUN) -m tools.pages --check
	@$(RUN) -m examples.er_diagram references/images/er-diagram.svg --check

skill: setup ## Build the installable skill in build/, a folder and a zip, and validate it
	@$(RUN) tools/build_skill.py build/sqlalchemy-orm-expert
	@.venv/bin/agentskills validate build/sqlalchemy-orm-expert

wheel: setup ## Build the wheel in dist/: the skill, and its scripts as commands
	@$(RUN) -m hatchling build -t wheel -d dist

docs: setup ## Build the site into site/, strictly
	@NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict

docs-serve: setup ## Serve the site on a loopback port while you write
	@NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs serve

ci: ## What lands a change
	@bash .ci/run

constraints: setup ## Renew the pins of every SQLAlchemy line
	@$(RUN) tools/constraints.py

clean: ## Remove what the targets made
	rm -rf .venv .venv-2.0* .venv.lock build dist site .mypy_cache .ruff_cache .pytest_cache
