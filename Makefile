# Two commands do everything on a fresh machine: `make demo` and `make test`. Both make the environment first.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# said again where the rest is installed: torchvision would bring another
TORCH := torch==2.13.0

.PHONY: demo test check format lint types docs mutants lock clean
ROOM ?= *

demo: $(READY)  ## the main job, on made scenes: runs/demo
	$(BIN)/wheretolook demo

test: $(READY)  ## all tests, doctests included, in random order: none may lean on what ran before it
	$(BIN)/python -m pytest

check: $(READY) format lint types docs test  ## format, lint, types, docs and tests (which hold the import direction)

format: $(READY)
	$(BIN)/ruff format --check .

lint: $(READY)
	$(BIN)/ruff check .

types: $(READY)
	$(BIN)/mypy

docs: $(READY)  ## the handbook into site/, strictly; its commands and Python are those that work
	$(BIN)/mkdocs build --quiet
	$(BIN)/python -m pytest tests/test_docs.py

mutants: $(READY)  ## hours: plant bugs one at a time (ROOM=losses for one room) and list those that no test sees
	OMP_NUM_THREADS=1 $(BIN)/mutmut run --max-children 1 'wheretolook.$(ROOM).*' </dev/null
	$(BIN)/mutmut results | grep -v 'not checked'

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $(READY)

lock:  ## resolve anew, in an environment of its own, and write the exact versions down
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet $(TORCH)
	.venv-lock/bin/python -m pip install --quiet --editable '.[dev]' $(TORCH)
	(echo "# Exact versions of everything, tested together; made by 'make lock'."; \
		.venv-lock/bin/python -m pip freeze --exclude-editable --all | grep -iv '^pip==' | sed 's/+cpu//') > requirements.lock
	rm -rf .venv-lock

clean:
	rm -rf .venv .venv-lock build dist mutants site
