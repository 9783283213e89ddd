# make demo, make test: each does all its own set-up on a fresh clone (git, make, Python >= 3.11).

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMP := .venv/.installed
PACKAGES := simulator protocols analysis scenarios sottovoce

.PHONY: demo test test-all formats plugin lint clean

# No pipe around the run: it would hide that a run failed, and a terminal from the progress bar.
demo: $(STAMP)
	@number=1; while [ -e runs/demo-$$number ]; do number=$$((number + 1)); done; \
		folder=runs/demo-$$number; \
		$(BIN)/sottovoce run quickstart --out $$folder && \
		report=$$($(BIN)/sottovoce report $$folder) && \
		echo "figures and tables: $$report"

test: lint
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not slow"

# What make test leaves out: whole matrices, statistics, scale.
test-all: $(STAMP)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m slow

# The package of examples/plugin/, installed beside sottovoce in a fresh environment as its users have it.
plugin: $(STAMP)
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && set -e && \
		$(BIN)/python -m venv "$$folder/venv" && python="$$folder/venv/bin/python" && \
		mkdir "$$folder/sources" && cp -R examples/plugin "$$folder/plugin" && \
		cp -R pyproject.toml README.md LICENSE $(PACKAGES) "$$folder/sources" && \
		"$$python" -m pip --disable-pip-version-check install --quiet --no-deps -r requirements.lock && \
		"$$python" -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation \
			"$$folder/sources" "$$folder/plugin" && \
		cd "$$folder" && "$$python" -m pytest -q -p no:cacheprovider plugin/tests && \
		venv/bin/sottovoce run plugin/scenario.toml --set protocol.rounds=5 --out "$$folder/run" && \
		venv/bin/sottovoce list | grep sottovoce-example

# What is made of the classes of kinds: docs/formats.md and the JSON Schema of scenario files.
formats: $(STAMP)
	$(BIN)/python -m tests.support.formats

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# --no-deps: the lock names everything, and pip check fails if it does not.
$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "sottovoce needs Python 3.11 or newer; name one: make $(or $(MAKECMDGOALS),demo) PYTHON=python3.12" >&2; \
		exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(PIP) install --quiet --no-deps -r requirements.lock
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	$(PIP) check
	@touch $(STAMP)

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
