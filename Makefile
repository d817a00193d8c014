# Everything a developer runs. `make help` lists it; each target says what is missing before it fails.

CARGO ?= cargo
# Arguments for the memory checkers, e.g. MEMORY_ARGS='address --python /usr/bin/python3-dbg'.
MEMORY_ARGS ?=
# Seconds for each fuzz target.
FUZZ_SECONDS ?= 60
# More arguments for the benchmarks, e.g. BENCH_ARGS=--markdown.
BENCH_ARGS ?=
# More arguments for the worker benchmark; BENCH_ARGS are for all.
WORKERS_ARGS ?=
# Interpreters for bench-image, e.g. pythons or virtual environments that have both workloads.
IMAGE_PYTHONS ?=
# Arguments for the long run, e.g. SOAK_ARGS='--minutes 5 --venv DIR'.
SOAK_ARGS ?=
# The interpreter for test-cpython, one that has its package `test`; and arguments, e.g. CPYTHON_ARGS='--quick --forms image'.
PYTHON ?=
CPYTHON_ARGS ?=
# More arguments for test-others, e.g. OTHERS_ARGS='--only click,jinja2 --forms image'; PYTHON is the interpreter.
OTHERS_ARGS ?=
# How many of each command `make faults` kills, of six, and at how many places reading or writing fails; how many packages `make mutants` changes.
KILLS ?= 170
FAULTS ?= 100
MUTANTS ?= 100000
CODEC = --locked --manifest-path benches/codec/Cargo.toml
BENCH = $(CARGO) run --release --quiet $(CODEC) --

.DEFAULT_GOAL := help
.PHONY: help tools test test-cpython test-others memory-check faults mutants soak stage wheel demo demo-files bench bench-workers bench-image bench-containers bench-smoke bless fuzz doc lint deny ci clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The tests of the ELF files run what a user would run on them. As root on Debian that is installed here; elsewhere the tests name
# what they miss, and with PYE_REQUIRE_TOOLS=1 fail for it.
tools:
	@command -v $(CARGO) >/dev/null || { echo "make: cargo is missing: install Rust (rustup, or your distribution's package)" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "make: a linker is missing: install gcc" >&2; exit 1; }
	@for tool in readelf eu-elflint ld.lld; do command -v $$tool >/dev/null || missing=1; done; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -q >/dev/null && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends binutils elfutils lld >/dev/null; \
	fi || echo "make: binutils, elfutils or lld could not be installed: the tests name what they miss" >&2

# What is tested is built beside the tests.
test: tools ## Run all tests, on every Python at hand (PYE_PYTHONS adds prefixes to look in)
	@python/stage >/dev/null & $(CARGO) test --locked --no-run; built=$$?; wait $$! && exit $$built
	$(CARGO) test --locked

test-cpython: ## Run the test suite of the CPython PYTHON= from packages and tell what differs from the stock import (CPYTHON_ARGS=--quick: in minutes)
	@[ -n "$(PYTHON)" ] || { echo "make: which interpreter? make test-cpython PYTHON=/path/to/python3.x" >&2; exit 1; }
	@python/stage >/dev/null
	tests/cpython/tests.py "$(PYTHON)"
	tests/cpython/run --python "$(PYTHON)" $(CPYTHON_ARGS)

test-others: ## Run the test suites of SQLAlchemy, pydantic, requests, … on PYTHON= from packages and tell what differs from the stock import (fetches them)
	@[ -n "$(PYTHON)" ] || { echo "make: which interpreter? make test-others PYTHON=/path/to/python3.x" >&2; exit 1; }
	@python/stage >/dev/null
	tests/others/tests.py "$(PYTHON)"
	tests/others/run --python "$(PYTHON)" $(OTHERS_ARGS)

faults: ## Kill commands at random moments, KILLS times each, have reads and writes fail at random bytes, FAULTS times each, and print what that left
	@rm -f target/kills && mkdir -p target
	PYE_FAULTS=$(FAULTS) PYE_KILLS=$(KILLS) PYE_KILLS_TABLE=$(CURDIR)/target/kills \
	    $(CARGO) test --locked --test faults --test activate --test pin -- kill any_byte cannot_read_or_write full_disk
	@awk 'BEGIN { format = "%-20s %6s %9s %9s\n"; printf format, "command", "kills", "half-way", "leftovers" } \
	    { print; kills += $$(NF-2); half += $$(NF-1); left += $$NF } END { printf format, "in all", kills, half, left }' target/kills

mutants: ## Load MUTANTS changed packages, and a quarter as many with images, each in a process of its own, and print what came of it
	PYE_MUTANTS=$(MUTANTS) $(CARGO) test --locked --test mutants

soak: ## Serve an application for 20 minutes in each form while its packages are replaced, and see that nothing leaks (SOAK_ARGS= for arguments)
	@python/stage >/dev/null
	tests/soak/tests.py
	tests/soak/run $(SOAK_ARGS)

memory-check: ## Run the extension under AddressSanitizer and valgrind, and the library's tests under the former (MEMORY_ARGS=--quick: in minutes)
	@command -v python3 >/dev/null || { echo "make: python3 is missing" >&2; exit 1; }
	tests/memory/run $(MEMORY_ARGS)

stage: ## Lay the Python package out in target/site, for PYTHONPATH (needs no pip)
	@python/stage

wheel: ## Build the wheel, one for CPython 3.9 to 3.15, into target/wheels (needs maturin)
	@command -v maturin >/dev/null || { echo "make: maturin is missing: pip install maturin, or cargo install maturin" >&2; exit 1; }
	maturin build --release --locked --out target/wheels

demo: ## Serve Django with stock CPython and with pye: same answers, less memory (the newest Python found, or PYTHON=)
	demo/run

demo-files: ## Convert, link, look inside and check Django and the standard library
	demo/files

bench: tools ## Run all benchmarks (BENCH_ARGS= for arguments of all, e.g. --markdown); benches/RESULTS.md says more
	benches/corpus
	$(BENCH) speed $(BENCH_ARGS)
	$(BENCH) files $(BENCH_ARGS)
	$(BENCH) merging $(BENCH_ARGS)
	$(BENCH) min-blob $(BENCH_ARGS)

bench-workers: tools ## Measure Django and science workers in memory, time and requests (WORKERS_ARGS= for arguments; an hour or two)
	python/stage >/dev/null
	benches/workers/run $(BENCH_ARGS) $(WORKERS_ARGS)

bench-image: tools ## Measure what images must reach, on the interpreters IMAGE_PYTHONS (virtual environments or programs; hours)
	benches/image $(IMAGE_PYTHONS) -- $(BENCH_ARGS) $(WORKERS_ARGS)

bench-containers: ## Show that containers share images, by page frames (root; WORKERS_ARGS="--python PYTHON", one at a fixed address)
	python/stage >/dev/null
	benches/containers $(WORKERS_ARGS)

bench-smoke: tools ## Run all benchmarks once on a small corpus, to see that they work
	benches/corpus --small
	$(CARGO) test $(CODEC) --target-dir target
	for part in speed files merging min-blob; do $(CARGO) run --quiet $(CODEC) --target-dir target -- $$part --smoke || exit; done
	python/stage >/dev/null
	benches/workers/tests.py
	benches/workers/run --smoke

bless: tools ## Write the golden files anew from what the tests find; look at the diff
	PYE_BLESS=1 $(CARGO) test --locked
	@git --no-pager diff --stat

fuzz: ## Fuzz each target for FUZZ_SECONDS (nightly, or stable told to act as one)
	FUZZ_SECONDS=$(FUZZ_SECONDS) fuzz/run

doc: ## Build the documentation, warnings as errors
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --lib --features python

lint: ## Check formatting and lints, warnings as errors
	$(CARGO) fmt --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) fmt --manifest-path benches/codec/Cargo.toml --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --lib --features python -- -D warnings
	$(CARGO) clippy $(CODEC) --all-targets --target-dir target -- -D warnings

deny: ## Check the licences, bans and sources of the dependencies
	$(CARGO) deny --locked check licenses bans sources

ci: ## All that continuous integration runs
	.ci/run

clean: ## Remove what was built, the demo's output included
	$(CARGO) clean
	rm -rf demo-out bench-out fuzz/target benches/codec/target
