# Every target works from a fresh clone and installs what it needs. Cluster parts need root.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# One more than cores that are common, for tests wait; each has an API server of its own, so not many more.
WORKERS ?= 3
# What `make test` leaves to other targets; CONTRIBUTING.md says to which.
QUICK := "not runtime and not nightly and not story and not slow"
# The programs of a control plane, and those that check charts and health checks.
CONTROL_TOOLS := etcd kube-apiserver kube-controller-manager kube-scheduler kubectl kwok helm glua
# Where it is set, every process that a test starts would compile the whole package again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help venv requirements format lint types imports crds docs unit api chart test test-nightly test-runtime cluster cluster-down cluster-status demo slow e2e e2e-full bench-reconcile bench-judgement bench-rollout bench-gateway clean

help: ## Show the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/  \1\t\2/' | expand -t 20

$(STAMP): pyproject.toml requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes --requirement requirements-dev.txt
	$(BIN)/pip install --quiet --no-deps --editable .
	@touch $@

venv: $(STAMP) ## Make the virtual environment

requirements: ## Pin the packages of pyproject.toml anew: names, versions and hashes
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --quiet \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links --output-file requirements-dev.txt

format: $(STAMP) ## Format and mend what ruff can
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .

lint: $(STAMP) ## Check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP) ## Check types
	$(BIN)/mypy
	$(BIN)/mypy --explicit-package-bases e2e
	$(BIN)/mypy --explicit-package-bases --follow-imports=silent bench
	$(BIN)/mypy runtime-image/supervisor

imports: $(STAMP) ## Check the import contracts
	$(BIN)/lint-imports

crds: $(STAMP) ## Generate the CRD from the models
	$(BIN)/python -m modelfleet.api.crd > crds/modelfleet.dev_llmdeployments.yaml
	cp crds/*.yaml charts/modelfleet/files/crds/

docs: $(STAMP) ## Generate the reference pages
	$(BIN)/python -m modelfleet.cli.docs

unit: $(STAMP) ## Unit, property, layout and supervisor tests
	$(BIN)/pytest -q tests/unit tests/property tests/layout operator/src e2e/cluster e2e/doubles e2e/image_delivery.py e2e/reach.py runtime-image/tests -m $(QUICK)

api: $(STAMP) ## Tests on a real kube-apiserver and control plane
	$(BIN)/pytest -q tests/api -m "not nightly and not story"

chart: $(STAMP) ## Tests of the Helm chart, by the real helm
	$(BIN)/pytest -q tests/chart

test: lint types imports $(STAMP) ## What needs no container and no patience: the README's test command
	$(BIN)/python -m e2e.cluster build $(CONTROL_TOOLS)
	$(BIN)/pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder tests operator/src e2e/cluster e2e/doubles e2e/image_delivery.py e2e/reach.py runtime-image/tests -m $(QUICK)

test-nightly: $(STAMP) ## What takes too long for every change: many histories, other examples every time, promised sizes
	$(BIN)/pytest -q tests/property --hypothesis-profile=nightly
	MODELFLEET_TEST_IDLE=10000 MODELFLEET_TEST_CHANGES=1000 MODELFLEET_TEST_AWAY_SECONDS=60 \
		$(BIN)/pytest -q tests/gateway/test_clients.py tests/gateway/test_control.py tests/gateway/test_faults.py

test-runtime: $(STAMP) ## The supervisor on real vLLM, inside the built image (root, about 10 minutes)
	$(BIN)/pytest -q runtime-image/tests -m runtime

cluster: $(STAMP) ## Start the embedded Kubernetes (root)
	$(BIN)/python -m e2e.cluster up

cluster-down: $(STAMP) ## Stop it; images, built programs and logs stay
	$(BIN)/python -m e2e.cluster down

cluster-status: $(STAMP) ## Say what of it runs
	$(BIN)/python -m e2e.cluster status

demo: $(STAMP) ## From nothing to a model that answers and scales (root)
	@$(BIN)/python -m e2e.demo

slow: $(STAMP) ## Longer tests on faked nodes and real Envoys, for every change: rollouts, faults, rights, upgrades
	$(BIN)/python -m e2e.cluster build $(CONTROL_TOOLS)
	$(BIN)/pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder tests -m slow

e2e: slow ## The slow tests, then the short set of scenarios on the whole cluster
	$(BIN)/pytest -q e2e/scenarios -m short

e2e-full: test-runtime slow ## The supervisor on real vLLM, everything on faked nodes, then every scenario on the whole cluster, and its end
	$(BIN)/python -m e2e.cluster build cert-manager
	$(BIN)/pytest -q tests/gateway/test_cert_manager.py
	$(BIN)/pytest -q tests/api -m story
	$(BIN)/pytest -q e2e/scenarios
	MODELFLEET_TEST_DOWN=1 $(BIN)/pytest -q e2e/scenarios/test_cluster_ends.py

bench-reconcile: $(STAMP) ## Figures of the operator on a faked fleet
	$(BIN)/python -m bench.reconcile

bench-judgement: $(STAMP) ## How often a canary is judged wrongly, and how soon rightly (about an hour on two cores)
	$(BIN)/python -m bench.judgement

bench-rollout: $(STAMP) ## How soon a bad canary has no traffic, how long a good one takes, on faked nodes (about 5 minutes)
	$(BIN)/python -m bench.rollout $(ARGS)

bench-gateway: $(STAMP) ## Figures of the gateway beside plain Envoy and other routers; ARGS=--quick for less than a minute
	$(BIN)/python -m bench.gateway $(ARGS)

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
