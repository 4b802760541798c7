# Kapok. `make demo` answers calls, `make test` tests; both work on a machine with Python alone.
#
#   make demo PYTHON=python3.12     another Python (3.11 or later)

PYTHON ?= python3
VENV   ?= .venv
DATA   ?= ../shared/data
UPDATES_SHARE ?= 1
SOAK_MINUTES ?= 60
TEST_JOBS ?= 2
BIN    := $(VENV)/bin
STAMPS := $(VENV)/.stamps

.DEFAULT_GOAL := help
.PHONY: help demo test style format types bench soak faults navigation prompts fixtures models eval check fuzz sbom lock image clean

help:
	@echo 'make demo      answer Mandarin and Cantonese calls and show the queue of each'
	@echo 'make test      run the tests'
	@echo 'make style     ruff: rules and layout'
	@echo 'make format    ruff: lay the code out'
	@echo 'make types     mypy, strict'
	@echo 'make check     style, types and test'
	@echo 'make bench     run every measurement in bench/'
	@echo 'make soak      calls for an hour at half load: memory, tasks, files, threads (SOAK_MINUTES=60)'
	@echo 'make faults    every fault injected, the slow ones too'
	@echo 'make navigation  measure what the simulator needs to know of recognition'
	@echo 'make fuzz      a million and more broken inputs into every parser'
	@echo 'make lock      pin every dependency with its hash in requirements.lock'
	@echo 'make sbom      bill of materials: sbom.json (CycloneDX)'
	@echo 'make image     build the container image and try it (podman or docker)'
	@echo 'make fixtures  make audio_fixtures/*.wav anew (needs espeak-ng)'
	@echo 'make prompts   speak the prompts that are missing (needs espeak-ng)'
	@echo 'make models    train both speech models anew, hours (needs espeak-ng, lmplz and DATA)'
	@echo 'make eval      measure the speech models (needs DATA for real people)'
	@echo 'make clean     remove $(VENV) and caches'

$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Kapok needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; \
	  echo 'Name another one: make PYTHON=python3.12' >&2; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || { \
	  echo 'Cannot make $(VENV); on Debian and Ubuntu: apt install python3-venv' >&2; exit 1; }
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/package: pyproject.toml $(STAMPS)/venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(STAMPS)/%: pyproject.toml $(STAMPS)/venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

demo: $(STAMPS)/package
	@IVR=$(BIN)/ivr scripts/demo

test: $(STAMPS)/test
	$(BIN)/python -m pytest -n $(TEST_JOBS) --dist loadfile $(PYTEST_ARGS)

style: $(STAMPS)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMPS)/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMPS)/dev $(STAMPS)/report $(STAMPS)/redis $(STAMPS)/postgres $(STAMPS)/otel
	$(BIN)/mypy

check: style types test

bench: $(STAMPS)/package
	@for script in bench/*.py; do \
	  test -e "$$script" || { echo 'bench/ has no scripts' >&2; exit 1; }; \
	  name=$$(basename "$$script" .py); echo "== bench.$$name"; \
	  $(BIN)/python -m "bench.$$name" || exit 1; done

soak: $(STAMPS)/package
	$(BIN)/python -m ivr.load.soak --minutes $(SOAK_MINUTES)

fixtures: $(STAMPS)/fixtures
	$(BIN)/python -m audio_fixtures.make

prompts: $(STAMPS)/fixtures
	$(BIN)/python -m scripts.make_prompts

# Every stage resumes; some twenty hours on two cores.
models: $(STAMPS)/training
	$(BIN)/python -m training.recipe --data $(DATA) --updates-share $(UPDATES_SHARE)

eval: $(STAMPS)/training
	$(BIN)/python -m training.evaluate --data $(DATA)
	$(BIN)/python -m training.evaluate --data $(DATA) --second-pass models/second --no-language

# What speech navigation does to callers, for the simulator; after a change of models or phrases.
navigation: $(STAMPS)/package
	$(BIN)/ivr replay audio_fixtures --expect audio_fixtures/labels.csv --in-process --navigation config/scenarios/navigation.yaml

faults: $(STAMPS)/test
	KAPOK_SLOW=1 $(BIN)/python -m pytest tests/faults
	$(BIN)/python -m bench.idle --connections 10000 --check --deadline 1.5

# A million inputs and more into every parser; minutes.
fuzz: $(STAMPS)/test
	$(BIN)/python -m fuzz

sbom: $(STAMPS)/package $(STAMPS)/release
	$(BIN)/python scripts/make_sbom.py sbom.json

lock: $(STAMPS)/release
	UV=$(BIN)/uv scripts/lock

# Status 77 where there is no engine or no base image; IMAGE_ARGS=--stand-in makes one.
image: $(STAMPS)/package
	$(BIN)/python -m scripts.try_image $(IMAGE_ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
