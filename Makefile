# Two commands on a machine with Python 3.11 and make: `make demo` and `make test`.
PYTHON ?= python3.11
VENV ?= .venv
BIN = $(VENV)/bin
MARK = $(VENV)/.installed

.PHONY: install demo test test-all lint clean

install: $(MARK)

$(MARK): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	# torch first and pinned: a looser request could bring several gigabytes of CUDA libraries
	$(BIN)/python -m pip install --quiet --constraint constraints.txt "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(MARK)

demo: $(MARK)
	$(BIN)/medseg demo -o demo

test: $(MARK)
	$(BIN)/python -m pytest

test-all: $(MARK)
	CI=true $(BIN)/python -m pytest

lint: $(MARK)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf demo runs .pytest_cache .mypy_cache .ruff_cache
