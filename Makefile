# The developer's menu. Everything sets itself up: a virtual environment, Python packages, Chromium, wa-js.
# Python 3.11, 3.12 and 3.13 work: all tests run on 3.11, the unit tests and a part of the others were run on 3.12 and 3.13.
# A newer one is let in and has not been tried. Another one than python3: make PYTHON=python3.12 install
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help install demo run test test-unit chaos soak bench deploy-check lint clean screenshots lock

help: ## Show this menu
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/.packages: requirements.lock setup.cfg
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; this is %d.%d. Say: make PYTHON=python3.12 $(MAKECMDGOALS)" % sys.version_info[:2])'
	@echo "Python packages: installing into .venv …"
	@$(PYTHON) -m venv .venv || { echo "python3 cannot make virtual environments here: install the package python3-venv"; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

install: .venv/.packages ## Set up all that is needed
	@$(BIN)/gateway setup

deploy/wa-js/node_modules/.package-lock.json: deploy/wa-js/package-lock.json | install
	@$(BIN)/python -c 'from gateway.provision import npm; npm(print, ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", "deploy/wa-js"])'

demo: install ## See it work: 30 messages, Chromium killed in the middle (KEEP=1 stays up)
	@$(BIN)/gateway demo $(if $(KEEP),--keep)

run: install ## Run the gateway in the foreground
	@$(BIN)/gateway up

test: install deploy/wa-js/node_modules/.package-lock.json ## Run all tests
	@$(BIN)/pytest tests/unit tests/integration

test-unit: .venv/.packages ## Run the fast tests
	@$(BIN)/pytest -q tests/unit

chaos: install ## Kill and stop everything at random moments, and count
	@$(BIN)/pytest -s tests/chaos

soak: install ## A fault a minute for half an hour, at default pacing, and count
	@GATEWAY_CHAOS_MINUTES=30 $(BIN)/pytest -s tests/chaos/test_soak.py

bench: install ## Measure it against its limits and peers; writes docs/benchmarks.md
	@$(BIN)/python tests/benchmarks --write docs

deploy-check: install ## Carry out the Dockerfile in a fresh Debian (as root, by debootstrap), and send a message from it
	@$(BIN)/pytest -s tests/deploy

lint: .venv/.packages deploy/wa-js/node_modules/.package-lock.json ## Check arrows, style, types, and bridge.js against wa-js
	@$(BIN)/lint-imports
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@deploy/wa-js/node_modules/.bin/tsc --project deploy/wa-js/tsconfig.json

screenshots: install ## Make the pictures of the docs anew, from a real run
	@$(BIN)/python tests/screenshots/monitor.py docs/images/monitor.png
	@$(BIN)/python tests/screenshots/pages.py docs/images

lock: ## Write requirements.lock anew from what is installed
	@$(BIN)/pip freeze --exclude-editable --all 2>/dev/null | grep -v '^pip==' > requirements.lock

clean: ## Remove what was built (never data)
	rm -rf .venv build dist *.egg-info deploy/wa-js/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis
