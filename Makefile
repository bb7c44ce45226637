# make demo: install and classify a synthetic catalog.   make test: everything CI runs.
# make chaos: kill trainings, fill disks, and compare what comes out with a training left alone.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test slow bench chaos fuzz format clean

demo: .venv/installed
	$(BIN)/ddcl-tab demo --out demo

test: .venv/installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	# Two processes of one thread: the networks of the tests are small, and two threads wait for each other on a busy
	# machine. A file stays in one process, for the sake of its fixtures, and files come in their own order: by their
	# numbers of tests, as is the default, the longest would come last.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# What takes more than ten seconds a test: short forms of the studies, notebooks on the real catalog, killed databases.
slow: .venv/installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m slow

# Short forms of both benchmarks: they show that the commands work. pipelines/README.md says what the full ones measure.
bench: .venv/installed-bench
	OMP_NUM_THREADS=1 $(BIN)/python pipelines/benchmark_catalog.py data build/bench --short --jobs 2
	OMP_NUM_THREADS=1 $(BIN)/python pipelines/benchmark_speed.py build/bench --short

chaos: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python pipelines/chaos.py pipelines/results --kills $(or $(KILLS),30)

# Readers and model files under mutated inputs. RUNS=1000000 took hours for docs/notes/reliability.md.
fuzz: .venv/installed
	$(PIP) -e '.[fuzz]'
	$(BIN)/python pipelines/fuzz_readers.py build/fuzz --runs $(or $(RUNS),20000)
	OMP_NUM_THREADS=1 $(BIN)/python pipelines/fuzz_models.py build/fuzz --files 10000

format: .venv/installed-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

# torch first and pinned: a looser request would pull the CUDA build.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ddcl-tab needs Python 3.11 or newer, this is " + sys.version)'
	$(PYTHON) -m venv .venv
	$(PIP) "$$(grep '^torch==' constraints.txt)"
	$(PIP) -e .
	touch $@

.venv/installed-test: .venv/installed
	$(PIP) -e '.[test]'
	touch $@

.venv/installed-bench: .venv/installed
	$(PIP) -e '.[bench]'
	touch $@
