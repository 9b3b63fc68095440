# WaveNet Studio: `make app` and `make test` install everything they need on a fresh machine.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help app test test-fast fuzz lint docs lock golden reliability space wheel screenshots clean browser FORCE

PORT ?= 7860
PYTHON ?=
PYTEST_ARGS ?=
FUZZ_EXAMPLES ?= 1000

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
LOCK := UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
  --generate-hashes --no-emit-index-url --no-emit-find-links

help:
	@echo "make app          start the studio at http://127.0.0.1:$(PORT)   (PORT=8000 for another port)"
	@echo "make test         check style, types and imports, then run the tests except gpu, slow and network   (PYTEST_ARGS='-k codec')"
	@echo "make test-fast    run the fast tests, for use while working (about a minute)"
	@echo "make fuzz         test every file reader with damaged files, for some minutes   (FUZZ_EXAMPLES=5000)"
	@echo "make lint         check style, types and imports"
	@echo "make docs         build the documentation site: build/docs/index.html"
	@echo "make reliability  run the reliability tests and write docs/development/reliability.md"
	@echo "make lock         write requirements.lock and requirements-dev.lock again, after a change of requirements*.txt"
	@echo "make golden       write the help texts of tests/golden/help again"
	@echo "make space        assemble build/space, the folder of a Hugging Face Space, and test it"
	@echo "make wheel        build the wheel and the source distribution into dist/, and test the wheel"
	@echo "make screenshots  take screenshots of every tab, into docs/screenshots"
	@echo "make clean        remove the environment and the files of the tools"
	@echo "TORCH_INDEX=URL with the first of these targets installs PyTorch from an index of CPU builds, without CUDA"
	@echo "Each target first creates $(VENV) if necessary; PYTHON=/path/to/python3.12 selects its Python."

app: $(VENV)/.project
	@exec $(BIN)/wavenet ui --port $(PORT)

# Without training, browsers, compiled engines and worker processes.
FAST_TESTS := $(addprefix tests/,audio_utils bench importing likelihood model sharing cli/test_help.py \
  docs/test_links.py docs/test_page_runner.py docs/test_shown_commands.py \
  test_checkpoint.py test_codec.py test_config.py test_devices.py test_errors.py test_project_rules.py test_sampling.py)

# Every process of the tests would compile all files again without stored bytecode: this variable, which
# some containers set, is removed.
unexport PYTHONDONTWRITEBYTECODE

# Three processes for two cores, because the browser tests mostly wait; tests/conftest.py forms the groups.
# PYTEST_ARGS="--durations 50" lists the slowest tests.
test: lint browser
	@echo "Compiling the engine cpu"
	@$(BIN)/python -m tests.compile_kernels
	@echo "Running the tests"
	@$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

test-fast: $(VENV)/.dev $(VENV)/.project
	@$(BIN)/python -m pytest --numprocesses 2 --quiet $(FAST_TESTS) $(PYTEST_ARGS)

fuzz: $(VENV)/.dev $(VENV)/.project
	@FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(BIN)/python -m pytest --numprocesses 0 --quiet --capture=no --timeout=0 tests/fuzz $(PYTEST_ARGS)

lint: $(VENV)/.dev $(VENV)/.project
	@echo "Checking style (ruff), types (mypy) and imports (import-linter)"
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

# --strict: a broken link or reference is an error. The variable hides a message about later versions of mkdocs.
docs: $(VENV)/.dev $(VENV)/.project
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "build/docs/index.html"

# All packages with versions and hashes, for every system and Python version of the project.
lock: $(VENV)/.dev
	@$(LOCK) requirements.txt requirements-build.txt --output-file requirements.lock
	@$(LOCK) requirements.txt requirements-build.txt requirements-dev.txt --output-file requirements-dev.lock

reliability: $(VENV)/.dev $(VENV)/.project browser
	@$(BIN)/python scripts/reliability.py

golden: $(VENV)/.dev $(VENV)/.project
	@REWRITE_GOLDEN=1 $(BIN)/python -m pytest --quiet tests/cli/test_help.py

space: $(VENV)/.project
	@PYTHON="$(PYTHON)" $(BIN)/python scripts/space.py build/space --run

wheel: $(VENV)/.project
	@$(BIN)/python scripts/wheel.py

screenshots: $(VENV)/.dev $(VENV)/.project browser
	@$(BIN)/python scripts/screenshots.py

clean:
	rm -rf $(VENV) build dist *.egg-info .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- The environment -------------------------------------------------------------------------------
# Each step ends by writing its stamp, so an interrupted step runs again and a finished one does not.

SUITABLE := import ensurepip, ssl, sys, venv; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))

# .made contains the path of the project; an environment that was copied, moved or damaged is created again.
MADE_IN := $(shell $(BIN)/python -c "" 2>/dev/null && cat $(VENV)/.made 2>/dev/null)
# TORCH_INDEX is a package index with PyTorch for CPUs only. An environment keeps its index; with another it is created
# again. The locks have no hashes for the files of that index; pip compares them with those that the index states.
MADE_FROM := $(shell cat $(VENV)/.torch-index 2>/dev/null)
TORCH_INDEX ?= $(MADE_FROM)

$(VENV)/.made: $(if $(and $(filter $(CURDIR),$(MADE_IN)),$(filter x$(TORCH_INDEX),x$(MADE_FROM))),,FORCE)
	@python=; \
	for candidate in $(or $(PYTHON),python3.12 python3.11 python3); do \
	  if "$$candidate" -c '$(SUITABLE)' >/dev/null 2>&1 </dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "WaveNet Studio needs Python 3.11 or 3.12 with its venv module," \
	    "but $(if $(PYTHON),$(PYTHON) is not suitable,none was found):" \
	    "install one, or set PYTHON=/path/to/python3.12." >&2; \
	  exit 1; \
	fi; \
	echo "Creating the environment $(VENV) with $$("$$python" --version)"; \
	rm -rf $(VENV) && "$$python" -m venv $(VENV) && echo "$(TORCH_INDEX)" > $(VENV)/.torch-index && \
	echo "$(CURDIR)" > $@

WITHOUT_CUDA := awk '/^[a-z]/ { keep = !/^(torch|torchaudio|triton|nvidia-[^=]*|cuda-[^=]*)==/ } keep'
SELECT := $(if $(TORCH_INDEX),$(WITHOUT_CUDA),cat)

$(VENV)/.runtime: requirements.lock $(VENV)/.made
ifneq ($(TORCH_INDEX),)
	@echo "Installing PyTorch from $(TORCH_INDEX)"
	@$(PIP) install --no-deps --index-url "$(TORCH_INDEX)" $$(grep -E '^torch(audio)?==' requirements.txt)
endif
	@echo "Installing the packages of requirements.lock ($(if $(TORCH_INDEX),without CUDA,on Linux 5.8 GB with CUDA: this takes minutes))"
	@$(SELECT) requirements.lock > $(VENV)/requirements.lock
	@$(PIP) install --require-hashes --requirement $(VENV)/requirements.lock
	@touch $@

$(VENV)/.project: pyproject.toml $(VENV)/.runtime
	@echo "Installing WaveNet Studio itself"
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	@echo "Installing the tools of requirements-dev.lock"
	@$(SELECT) requirements-dev.lock > $(VENV)/requirements-dev.lock
	@$(PIP) install --require-hashes --requirement $(VENV)/requirements-dev.lock
	@touch $@

# Some tests need a browser and are skipped without one. If this process may install one, it does.
browser:
	@for name in chromium chromium-browser google-chrome; do \
	  if "$$name" --version >/dev/null 2>&1 </dev/null; then exit 0; fi; \
	done; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then exit 0; fi; \
	echo "Installing Chromium for the browser tests"; \
	export DEBIAN_FRONTEND=noninteractive; \
	{ timeout 120 apt-get -qq update && timeout 600 apt-get -qq install --yes --no-install-recommends chromium; } \
	  >/dev/null 2>&1 </dev/null || echo "Chromium could not be installed: the browser tests will be skipped"
