# Operate Bulkhead on this machine. `make help` lists the targets.
SHELL := /bin/sh
.DEFAULT_GOAL := up
ENV ?= dev
TEAMS := $(notdir $(patsubst %/,%,$(dir $(wildcard workloads/*/pyproject.toml))))
STAMPS := $(TEAMS:%=workloads/%/.venv/.ready)

export UV_SYSTEM_CERTS := 1
export UV_PYTHON_DOWNLOADS := never
export UV_COMPILE_BYTECODE := 1
export ENV
unexport VIRTUAL_ENV

.PHONY: help up down logs ps reset setup demo test conformance bench ui check lint clean

help: ## List the targets.
	@grep -hE '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed 's/:.*## /\t/' | expand -t 12

up: ## Bring the platform up in containers, wait until it is healthy and print its address (ENV=dev|uat|prod).
	@sh deployment/platform.sh up

down: ## Stop it: runs are cancelled, containers and networks removed; the data stays in volumes.
	@sh deployment/platform.sh down

logs: ## Follow what its services say; some of them: make logs SERVICE=daemon.
	@sh deployment/platform.sh logs $(SERVICE)

ps: ## Show its services and how they are.
	@sh deployment/platform.sh ps

reset: ## Stop it and remove its data, after asking (FORCE=1 does not ask).
	@sh deployment/platform.sh reset

setup: .venv/.ready $(STAMPS) ## Make every environment (the orchestrator's, and one for each workload).

demo: setup ## Run etl_job, then ml_pipeline_job, and show what came of it.
	@BULKHEAD_FOLLOW_PARENT=1 exec .venv/bin/bulkhead run etl_job ml_pipeline_job

ui: setup ## Start the UI on http://127.0.0.1:3000 (another port: make ui PORT=3001).
	@exec .venv/bin/bulkhead ui --port $(or $(PORT),3000)

check: setup ## Check contracts, environments and the boundary.
	@.venv/bin/bulkhead check

test: setup ## Run every test that needs no engine: the platform's, and each workload's in its own environment.
	.venv/bin/python -m pytest tests -m "not engine and not postgres"
	@set -e; for team in $(TEAMS); do \
	  echo "== tests of workloads/$$team"; \
	  (cd workloads/$$team && .venv/bin/python -m pytest tests -q); \
	done

conformance: setup ## Run every case on Dagster's stock client and on Bulkhead; write docs/conformance.md.
	.venv/bin/python -m tests.conformance.report docs/conformance.md

bench: setup ## Measure beside bare processes and stock Dagster; write docs/performance.md (about 20 minutes).
	.venv/bin/python -m tests.bench.report docs/performance.md

lint: setup ## Format check, lint, types, import boundaries.
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	@set -e; for file in workloads/*/defs.yaml; do .venv/bin/dg check yaml $${file%/defs.yaml}; done
	.venv/bin/bulkhead check

clean: ## Remove environments; the state under .bulkhead stays.
	rm -rf .venv workloads/*/.venv

.venv/.ready: pyproject.toml uv.lock deployment/setup.sh orchestrator/backends/supervision/starter.c
	@sh deployment/setup.sh orchestrator

workloads/%/.venv/.ready: workloads/%/pyproject.toml workloads/%/uv.lock workloads/sdk/pyproject.toml .venv/.ready
	@sh deployment/setup.sh workload $*
