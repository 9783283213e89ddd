# make demo, make test: each does all its own set-up on a fresh clone (git, make, Python >= 3.11).

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMP := .venv/.installed

.PHONY: demo test test-all lint clean

# No pipe around the run: it would hide that a run failed, and a terminal from the progress bar.
demo: $(STAMP)
	@number=1; while [ -e runs/demo-$$number ]; do number=$$((number + 1)); done; \
		folder=runs/demo-$$number; \
		$(BIN)/sottovoce run quickstart --out $$folder && \
		report=$$($(BIN)/sottovoce report $$folder) && \
		echo "figures and tables: $$report"

test: lint
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m "not slow"

# What make test leaves out: whole matrices, statistics, scale.
test-all: $(STAMP)
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m slow

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
