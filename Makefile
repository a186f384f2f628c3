# Needs make and CPython 3.10 or newer, nothing else. ARGS="..." is passed on; PYTHON=... chooses the Python.
VERSIONS ?= 3.10 3.11 3.12 3.13 3.14 3.15
ARGS ?=

# Three at once, since many tests wait; ARGS="-n 0" for one, as a debugger needs it.
PYTEST = pytest -n 3 --dist loadfile --no-loadscope-reorder

# pyenv's shims run only the versions that are selected: select all it has.
export PYENV_VERSION := $(or $(PYENV_VERSION),$(shell pyenv versions --bare 2>/dev/null | grep -E '^3\.1[0-9]\.[0-9]+$$' | sort -rV | paste -sd: -))

usable = $(1) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null
PYTHON := $(or $(PYTHON),$(shell export PYENV_VERSION=$(PYENV_VERSION); \
  for p in python3.13 python3.14 python3.12 python3.11 python3.10 python3.15 python3; do $(call usable,$$p) && echo $$p && break; done))

.PHONY: test test-storage battery battery-peers host-suites soak soak-collector fuzz demo screenshots bench bench-count bench-bytecodes bench-collector soak-profiler coverage test-min lint types check wheel test-all clean

test: .venv/ready
	.venv/bin/python -m $(PYTEST) $(ARGS)

# Zipkin on MariaDB, Cassandra and OpenSearch, behind Kafka too: docs/scaling.md. Skips what this machine cannot have.
test-storage: .venv/ready
	.venv/bin/python -m pytest tests/storage/check_storage.py --durations=5 $(ARGS)

# Faults injected for real, one line a case; docs/reliability.md says which. ARGS="12 14" for some, ARGS=--help for more.
battery: .venv/battery
	.venv/bin/python -m tests.battery $(ARGS)

# The same with other libraries, and the table in docs/reliability.md.
battery-peers: .venv/battery
	.venv/bin/python -m tests.battery.peers $(ARGS)

.venv/battery: .venv/ready
	.venv/bin/pip install --quiet --disable-pip-version-check --editable '.[battery]'
	@touch $@

# The tests of other projects and of CPython, with obskit and without. ARGS="flask test_threading" for some.
host-suites: .venv/ready
	.venv/bin/python -m tests.host_suites $(ARGS)

# Load for two minutes with a receiver that comes and goes: memory, threads and the ledger. MINUTES=60 for longer.
soak: .venv/ready
	.venv/bin/python -m tests.soak.flapping --minutes $(or $(MINUTES),2) $(ARGS)

# Ten minutes of 200 connections, and a collector that is killed in the middle. MINUTES=1 for fewer.
soak-collector: .venv/ready
	.venv/bin/python -m tests.soak.collector_load --minutes $(or $(MINUTES),10)

# What reads bytes from outside, fuzzed for a minute each. MINUTES=60 for longer, ARGS="json thrift" for some.
fuzz: .venv/fuzz
	.venv/bin/python -m tests.fuzz --minutes $(or $(MINUTES),1) $(ARGS)

.venv/fuzz: .venv/ready
	.venv/bin/pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	@touch $@

demo: .venv/ready
	@.venv/bin/obskit demo $(ARGS)

# Pictures of the collector's pages for docs/images, filled by the demo; needs chromium and pngquant.
screenshots: .venv/ready
	.venv/bin/python -m tests.screenshots

bench: .venv/ready
	.venv/bin/python tests/benchmarks/run.py $(ARGS)

# Instructions instead of time: what obskit adds to an operation, to a fraction of a percent. ARGS=--record keeps them.
bench-count: .venv/ready
	.venv/bin/python tests/benchmarks/count.py $(ARGS)

# Bytecodes: the same in each run, and what each function takes. ARGS="--only Flask --functions" for some.
bench-bytecodes: .venv/ready
	.venv/bin/python tests/benchmarks/bytecodes.py $(ARGS)

# The collector beside a Zipkin server (Java 17 and Maven): CPU, memory, queries. ARGS="--spans 1000000 --alone" without.
bench-collector: .venv/ready
	.venv/bin/python -m tests.benchmarks.collector $(ARGS)

# Ten minutes of a thousand samples a second; MINUTES=1 for fewer.
soak-profiler: .venv/ready
	.venv/bin/python -W ignore::DeprecationWarning tests/benchmarks/profiler_soak.py $(or $(MINUTES),10)

# Which lines and branches the tests reach, also in the processes that they start.
coverage: .venv/ready
	.venv/bin/coverage erase
	.venv/bin/coverage run -m $(PYTEST) -q $(ARGS)
	.venv/bin/coverage combine --quiet
	.venv/bin/coverage report

# The integrations with the oldest version of each library that pyproject.toml allows, on the oldest Python.
test-min: .venvs/min/ready
	.venvs/min/bin/python -m $(PYTEST) $(or $(ARGS),tests/integrations)

.venvs/min/ready: pyproject.toml tests/oldest.py .venv/ready
	rm -rf .venvs/min
	python3.10 -m venv .venvs/min
	.venv/bin/python tests/oldest.py > .venvs/min/requirements.txt
	.venvs/min/bin/pip install --quiet --disable-pip-version-check --requirement .venvs/min/requirements.txt --editable .
	@touch $@

check: lint types

lint: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

types: .venv/ready
	.venv/bin/mypy obskit

# What users get: the wheel, made from the sdist, on every CPython that is here.
test-all: wheel
	@$(MAKE) --no-print-directory --keep-going $(VERSIONS:%=test-%)

wheel: .venv/ready
	rm -rf .venvs/dist && mkdir -p .venvs/dist
	.venv/bin/python -m build --no-isolation --outdir .venvs/dist . > .venvs/build.log || { cat .venvs/build.log; exit 1; }

# -I keeps the checkout off sys.path, so that the wheel is what is tested.
test-%:
	@if ! $(call usable,python$*); then echo "CPython $*: skipped, there is no python$* (with venv) on the PATH"; exit 0; fi; \
	$(MAKE) --no-print-directory .venvs/$*/ready PYTHON=python$* && \
	.venvs/$*/bin/pip install --quiet --no-deps --force-reinstall .venvs/dist/*.whl && \
	.venvs/$*/bin/python -Im $(PYTEST) -q $(ARGS) && echo "CPython $*: passed" || { echo "CPython $*: FAILED"; exit 1; }

# A folder with the package (editable) and all that the tests need; made anew when pyproject.toml changes.
%/ready: pyproject.toml
	@{ $(call usable,$(PYTHON)); } || { echo "No usable Python ($(or $(PYTHON),none on the PATH)): install CPython 3.10 or newer, with its venv module, or name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	rm -rf $*
	$(PYTHON) -m venv $*
	$*/bin/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

clean:
	rm -rf .venv .venvs build dist *.egg-info
