# The tools are those of the active environment; CONTRIBUTING.md says how to make one.
.PHONY: check lint test matrix mutation

check: lint test

lint:
	ruff check .
	ruff format --check .
	mypy
	lint-imports

test: # a thread for each process, or they wait for each other
	OMP_NUM_THREADS=1 python -m pytest -n logical --dist loadfile

matrix:
	python tools/matrix.py

mutation:
	python tools/mutation.py
