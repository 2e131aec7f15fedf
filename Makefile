# make demo: the main job on the embedded field, in an environment with the base install only
# make test: everything, in the full environment
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$p; break; fi; done)
DEMO = .venv-demo
FULL = .venv
PIP_OPTIONS = --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test lint check clean python

demo: $(DEMO)/done
	rm -rf demo-output
	$(DEMO)/bin/fullfield run datasets/sample --out demo-output
	$(DEMO)/bin/fullfield evaluate run demo-output --truth catalogue.csv
	@echo
	@echo "Look at demo-output/fields/sample/detections.png; the catalogue is demo-output/catalogue.parquet."

test: $(FULL)/done
	OMP_NUM_THREADS=1 $(FULL)/bin/python -m pytest --numprocesses 2 --dist loadfile

lint: $(FULL)/done
	$(FULL)/bin/ruff check .
	$(FULL)/bin/ruff format --check .
	$(FULL)/bin/mypy

check: lint test

$(DEMO)/done: pyproject.toml constraints.txt | python
	$(PYTHON) -m venv --clear $(DEMO)
	$(DEMO)/bin/pip install $(PIP_OPTIONS) --editable .
	touch $@

$(FULL)/done: pyproject.toml constraints.txt | python
	$(PYTHON) -m venv --clear $(FULL)
	$(FULL)/bin/pip install $(PIP_OPTIONS) --editable ".[train,test]"
	touch $@

python:
	@test -n "$(PYTHON)" || { echo "fullfield needs Python 3.11 or newer; none was found (make PYTHON=/path/to/python)"; exit 1; }

clean:
	rm -rf $(DEMO) $(FULL) demo-output
