# Everything a checkout can do. Each target makes .venv ready by itself first, which takes no time when nothing changed.

SHELL := /bin/sh
BIN := .venv/bin
CONTRACTS := .venv/contracts.binpb

.DEFAULT_GOAL := help
.PHONY: help setup demo up test check format protos lock k8s-check bench bench-peers

help: ## print this
	@echo "Fivefold: the machine-learning lifecycle as five gRPC services. \`make demo\` shows it whole."
	@echo
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "Needs Python 3.11 to 3.13 (PYTHON=/path/to/python3 chooses one). Nothing is installed outside this folder."

setup: ## make .venv ready: locked packages, the services (editable), stubs from protos/
	@tools/setup.sh

demo: setup ## the whole lifecycle on real data with five real services, in a few minutes
	@$(BIN)/fivefold demo

up: setup ## start the five services on 127.0.0.1:7101 to 7105 and keep them running until Ctrl-C
	@$(BIN)/fivefold up

test: setup ## run the tests; ARGS are pytest's, such as ARGS="tests/registry -k stage"
	$(BIN)/python -m pytest $(ARGS)

check: setup ## format, lint, types, import rules, contracts, architecture
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python clients/python/hatch_build.py $(CONTRACTS)
	$(BIN)/buf lint $(CONTRACTS) --config protos/buf.yaml
	$(BIN)/buf format --exit-code --diff protos
	$(BIN)/python -m pytest tests/architecture -m "not slow" --quiet

format: setup ## rewrite code and contracts in the house's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/buf format --write protos

protos: setup ## make the stubs again after a change in protos/
	@$(BIN)/python clients/python/hatch_build.py

lock: setup ## compile requirements/*.txt again; UPGRADE=1 takes newer releases
	@tools/lock.sh

k8s-check: setup ## validate the Kubernetes manifests and our policy on them
	$(BIN)/python -m pytest tests/k8s

bench-peers: setup ## make the environments of the programs that benchmarks compare with
	@tools/bench-peers.sh

bench: bench-peers ## run the benchmarks one after another, answers as JSON in .bench/; ARGS names some, such as ARGS="tracking.search"
	@tools/bench.sh $(ARGS)
