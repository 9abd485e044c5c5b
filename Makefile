# The two commands that a new user needs are `make demo` and `make test`; everything else serves them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv

.PHONY: help setup dev demo test test-long matrix kills bench bench-gpu gpu-kit lint lock-requirements clean

help:
	@echo 'make demo   set everything up, build the cpu image, train, rerun, print the verdict'
	@echo 'make test   set everything up, run all checks and tests'
	@echo 'make test-long  the tests that take minutes each; builds the image for GPUs (1.6 GB are fetched)'
	@echo 'make setup  install what bundle needs (tools, $(VENV)); afterwards: python bundle.py --help'
	@echo 'make lint   ruff and mypy'
	@echo 'make bench  speed beside peers: makes docs/benchmarks.md anew (20 minutes; needs Python 3.11)'
	@echo 'make bench-gpu  the same on GPUs beside PyTorch: makes docs/gpu-benchmarks.md (needs GPUs, Python 3.11)'
	@echo 'make gpu-kit  the image for GPUs in pieces of 60 MB, for a machine with a GPU and no network'
	@echo 'make kills  kill runs at random moments and resume them: make kills N=500 SEED=1 (long)'
	@echo 'make matrix every network, optimizer and communicator, run and run again (long)'
	@echo 'make clean  remove $(VENV), .tools, .bench, .bench-gpu and .gpukit (never a run, never the cache)'

# Stamps hold the hash of what they were made from: a changed requirement installs again, and a
# moved checkout makes its tools again, because their paths are absolute.
setup:
	@bash container/install_host.sh . $(PYTHON)
	@bash container/install_python.sh $(VENV) requirements/host.txt $(PYTHON)
	@echo 'next: python3 bundle.py doctor (or --stack cpu), then python3 bundle.py build'

dev:
	@bash container/install_host.sh . $(PYTHON)
	@bash container/install_python.sh $(VENV) requirements/dev.txt $(PYTHON)

demo: dev
	@$(VENV)/bin/python bundle.py demo

test: dev lint
	@bash tests/install.sh
	@bash container/install_python.sh .tools/validators requirements/validators.txt $(PYTHON) || \
	    echo 'bundle: some tests will be skipped: descriptions of runs are not validated'
	@$(VENV)/bin/python -m pytest -m 'not long' -n 2 --dist loadfile --no-loadscope-reorder

# Jobs on real schedulers that are killed, chained, or left alone by their scheduler, and the image for
# GPUs, which is built twice: minutes each.
test-long: dev
	@bash tests/install.sh long
	@$(VENV)/bin/python -m pytest -m long

# Every network x optimizer x communicator, run and run again: about 40 minutes on two free cores.
# What is done for the code as it stands is not done again. Some of them: make matrix ONLY='nin/*/flat'
matrix: dev
	@$(VENV)/bin/python -m tests.integration.every_combination $(foreach one,$(ONLY),--only '$(one)')

# Tiny runs killed at random moments and resumed; the same choices for the same seed. Some 10 s a kill.
kills: dev
	@$(VENV)/bin/python -m tests.integration.kill_campaign --kills $(or $(N),100) --seed $(or $(SEED),1) \
	    $(if $(ONLY),--only '$(ONLY)')

bench: dev
	@bash benchmarks/install.sh .bench $(PYTHON)
	@.bench/bin/python -W ignore -m benchmarks >.bench/benchmarks.md
	@mv .bench/benchmarks.md docs/benchmarks.md
	@cat docs/benchmarks.md

# PyTorch is that of TORCH_PYTHON; without one it is left out. More: make bench-gpu BENCH='--batch 128'
bench-gpu: dev
	@$(VENV)/bin/python -m benchmarks.gpu_host
	@bash benchmarks/install.sh .bench-gpu $(PYTHON) cuda12
	@source .bench-gpu/cuda.sh && .bench-gpu/bin/python -W ignore -m benchmarks.gpu \
	    $(if $(TORCH_PYTHON),--torch-python '$(TORCH_PYTHON)') $(BENCH) >.bench-gpu/page.md
	@mv .bench-gpu/page.md docs/gpu-benchmarks.md
	@cat docs/gpu-benchmarks.md

# tests/gpu_kit/README.md. LEVEL=3 makes it faster and larger.
gpu-kit: dev
	@bash tests/gpu_kit/make_kit.sh .gpukit

lint: dev
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

# Resolves requirements/*.in anew; a maintainer's command, never run by the others.
lock-requirements:
	@$(PYTHON) -m venv .tools/uv && .tools/uv/bin/pip -q install uv
	@cd requirements && for name in host dev tools; do \
	    ../.tools/uv/bin/uv pip compile -q --universal --python-version 3.9 --generate-hashes \
	    --no-header --no-emit-index-url --no-emit-find-links $$name.in -o $$name.txt; done; \
	    ../.tools/uv/bin/uv pip compile -q --universal --python-version 3.10 --generate-hashes \
	    --no-header --no-emit-index-url --no-emit-find-links validators.in -o validators.txt

clean:
	rm -rf $(VENV) .tools .bench .bench-gpu .gpukit
