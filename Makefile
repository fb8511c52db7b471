# Every command works on a fresh machine: it makes the virtual environment and installs what is missing.
# Settings are environment variables, also as `make run EXCHANGE=binance`; .env.example lists them.

SHELL := /bin/bash
BIN := .venv/bin
PACKAGES := market binance bybit bus telemetry ingestor server exchange deploy clients loadtest tests
RUN := .venv/run.stamp
DEV := .venv/dev.stamp
CLIENTS := .venv-clients/stamp
NODE := node_modules/.stamp
STEP := @deploy/step.sh
# A link that leads nowhere is an error.
SITE := $(BIN)/sphinx-build -q -W --keep-going -c docs -d .run/site-cache . .run/site
LOCK := $(BIN)/uv pip compile -q --generate-hashes --universal --python-version 3.11 \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

.DEFAULT_GOAL := help
.PHONY: help setup run cluster roll test chaos check docs format audit release lock bench soak page-soak frames loadtest vendor clean servers monitors node chromium compiler
# A recipe that failed leaves no stamp that says it succeeded.
.DELETE_ON_ERROR:

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(DEV) $(CLIENTS) $(NODE) servers monitors chromium compiler ## Install everything that the other commands need

run: $(RUN) ## Serve everything from one process on :8080; EXCHANGE=binance or EXCHANGE=replay:FILE
	@exec $(BIN)/python -m app run

cluster: $(DEV) servers ## Nginx on :8080, two replicas, two ingestors, Redis, exchange; REPLICAS=4, INGESTORS=3, BUS=nats, SECURE=1
	@exec $(BIN)/python -m deploy.cluster

test: $(DEV) $(CLIENTS) $(NODE) servers monitors chromium compiler ## All tests but the long ones; LONG=1: those, too
	$(BIN)/python -m pytest -q -n 4 --dist loadfile --no-loadscope-reorder $(if $(LONG),,-m "not long")

chaos: $(DEV) $(NODE) servers ## Every fault against a whole cluster, with clients that check what they get, some 6 min; QUICK=1, SEED=7
	@$(BIN)/python -m tests.system.chaos

check: $(DEV) $(NODE) servers monitors ## Style, types, import rule, configuration files, API documents, documentation
	$(STEP) "style" $(BIN)/ruff check .
	$(STEP) "format" $(BIN)/ruff format --check .
	$(STEP) "types" $(BIN)/mypy .
	$(STEP) "import rule" $(BIN)/lint-imports
	$(STEP) "security" $(BIN)/bandit -q -c pyproject.toml -r app.py version.py $(filter-out tests,$(PACKAGES))
	$(STEP) "nginx" $(BIN)/python -m deploy.check_config
	$(STEP) "docker-compose.yml" $(BIN)/docker-compose config -q
	$(STEP) "docker-compose.secure.yml" $(BIN)/docker-compose -f docker-compose.yml -f docker-compose.secure.yml config -q
	$(STEP) "Dockerfile" $(BIN)/hadolint Dockerfile
	$(STEP) "yaml" $(BIN)/yamllint --strict .
	$(STEP) "deploy/k8s" $(BIN)/kubernetes-validate --strict --quiet $(filter-out %/kustomization.yaml,$(wildcard deploy/k8s/*/*.yaml))
	$(STEP) "prometheus" promtool check config deploy/prometheus/prometheus.yml
	$(STEP) "alerts" promtool test rules deploy/prometheus/alerts.test.yml
	$(STEP) "alertmanager" amtool check-config deploy/alertmanager/alertmanager.yml
	$(STEP) "API documents" $(BIN)/python -m deploy.check_documents
	$(STEP) "documentation" $(SITE)
	$(STEP) "shell" xargs -n1 bash -n <<<"$(wildcard deploy/*.sh) .ci/run"
	$(STEP) "client library" node_modules/.bin/tsc -p clients/js
	$(STEP) "browser scripts" node_modules/.bin/tsc -p clients/web

docs: $(DEV) ## The documentation as a site: .run/site/index.html
	@$(SITE)
	@echo "file://$(CURDIR)/.run/site/index.html"

format: $(DEV) ## Format the source and mend what can be mended automatically
	$(BIN)/ruff check --fix-only -q .
	$(BIN)/ruff format .

audit: $(DEV) $(NODE) ## Known weaknesses of what requirements.txt and package-lock.json pin; asks PyPI and npm
	$(BIN)/pip-audit --strict --disable-pip --require-hashes -r requirements.txt
	npm audit

release: $(DEV) $(NODE) ## The committed version as dist/: source, SBOM of Python's and npm's packages, checksums
	@$(BIN)/python -m deploy.release

lock: $(DEV) ## Pin what requirements*.in ask for, with hashes
	$(LOCK) requirements.in -o requirements.txt
	$(LOCK) requirements-otel.in -o requirements-otel.txt
	$(LOCK) requirements-dev.in -o requirements-dev.txt
	$(LOCK) tests/clients/requirements.in -o tests/clients/requirements.txt

bench: $(DEV) $(NODE) servers compiler ## Beside stock python-socketio and Socket.IO on Node, with a report; QUICK=1: the main part in 3 min
	@$(BIN)/python -m loadtest.bench

soak: $(DEV) $(NODE) servers compiler ## 10,000 idle, 5,000 active clients and some that come and go: nothing may drift; MINUTES=30
	@$(BIN)/python -m loadtest.bench.soak

page-soak: $(DEV) $(NODE) chromium ## The page left open: memory flat, order book never crossed, no console error; MINUTES=30
	@$(BIN)/python -m tests.web.soak

frames: $(DEV) chromium ## What a watchlist of 200 rows that all change costs the browser: time between frames, on the main thread
	@$(BIN)/python -m tests.web.frame_times

roll: $(DEV) ## Restart every replica and ingestor of a running `make cluster` one after the other; PORT=8080
	@exec $(BIN)/python -m deploy.rolling

loadtest: $(DEV) $(NODE) servers ## Load on a cluster of its own, or of URL=, with a report and a verdict, some 4 min; QUICK=1, SCENARIO=storm
	@$(BIN)/python -m loadtest.kit

vendor: $(RUN) $(NODE) ## Copy the page's libraries from node_modules into clients/web/vendor
	$(BIN)/python deploy/vendor.py

clean: ## Remove what these commands made
	rm -rf .run dist .venv .venv-clients node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(PACKAGES) -name __pycache__ -prune -exec rm -rf {} +

.venv/bin/python:
	deploy/make-venv.sh

$(RUN): requirements.txt | .venv/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

$(DEV): requirements-dev.txt $(RUN)
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

# Binance's client libraries apart from ours: they pin what we use too, and one is called `binance` as a package of ours.
$(CLIENTS): tests/clients/requirements.txt | .venv/bin/python
	$(BIN)/python -m venv --clear .venv-clients
	.venv-clients/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(NODE): package-lock.json .npmrc | node
	npm ci --no-progress --loglevel=error
	@touch $@

servers monitors node chromium compiler:
	@deploy/system-packages.sh $@
