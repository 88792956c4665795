# octomesh: `make up` runs a whole mesh on this machine, `make test` runs all that CI runs.
#
# The environment is made by stamps in $(VENV): again when pyproject.toml, setup.py or the
# kernel's sources change.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

INSTALLED := $(VENV)/.octomesh
INSTALLED_FOR_TESTS := $(VENV)/.octomesh-test
INSTALLED_FOR_CLIENT := node_modules/.octomesh

# What `make bench` is told, such as BENCH="cost meeting --rounds 9".
BENCH ?=

COMPILED := region/kernel benchmarks/load
KERNEL := $(wildcard $(foreach ending,pyx pxd h,$(addsuffix /*.$(ending),$(COMPILED))))
KERNEL_TESTS := $(shell grep -l "tests\.region\.rig" tests/region/test_*.py)
CLIENT_TESTS := $(wildcard tests/web/client/*.test.js tests/web/client/*.test.mjs)

CORES := tests/relay tests/focus tests/web

FUZZ_RUNS ?= 1000000
FUZZ_SECONDS ?= 3600

SOAK_MINUTES ?= 30
SOAK_PEOPLE ?= 30

# make up HTTPS_PORT=9443 REGIONS=frankfurt,singapore …
UP_FLAGS := $(if $(HTTPS_PORT),--https-port $(HTTPS_PORT)) \
	$(if $(HTTP_PORT),--http-port $(HTTP_PORT)) \
	$(if $(MEDIA_PORT),--media-port $(MEDIA_PORT)) \
	$(if $(OPS_PORT),--ops-port $(OPS_PORT)) \
	$(if $(REGIONS),--regions $(REGIONS)) \
	$(if $(STATE_DIR),--state-dir $(STATE_DIR))

, := ,
fail = { echo "octomesh: $(1)" >&2; exit 1; }
# What has to succeed, the Debian packages that let it, and what is missing without them:
# installed when we are root.
unless = @$(1) >/dev/null 2>&1 || { \
	[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	&& echo "octomesh: installing Debian's $(2)" && apt-get update -qq \
	&& DEBIAN_FRONTEND=noninteractive \
	apt-get install -qq -y --no-install-recommends $(2) >/dev/null; \
	} || $(call fail,no $(3): apt-get install $(2))
need = $(call unless,command -v $(1),$(2),$(1))
GSTREAMER := python3-gi gir1.2-gst-plugins-bad-1.0 gstreamer1.0-nice \
	gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad
# As pkg-config and Debian call them.
MEDIASOUP := libuv openssl usrsctp nlohmann_json absl_flat_hash_map absl_strings
MEDIASOUP_PACKAGES := libuv1-dev libssl-dev libusrsctp-dev nlohmann-json3-dev libabsl-dev

.PHONY: help up test lint types client unit cores machine demanding explore sanitize fuzz \
	fuzz-short bench bench-report soak clean

help:
	@echo "make up      a whole mesh on this machine; HTTPS_PORT= HTTP_PORT= MEDIA_PORT= OPS_PORT="
	@echo "             REGIONS= STATE_DIR= as octomesh up has them"
	@echo "make test    everything that CI runs: lint, types, client, fuzz-short, unit (cores, machine)"
	@echo "make demanding  browsers on thin links, large pictures, and what people are promised held to"
	@echo "             the second: a quarter of an hour of a machine that does nothing else"
	@echo "make explore  the tests with other random examples each time; make test has the same"
	@echo "make sanitize  the kernel's tests under AddressSanitizer and UndefinedBehaviorSanitizer"
	@echo "make fuzz    a million executions of each parser and of the kernel; FUZZ_RUNS="
	@echo "             FUZZ_SECONDS= at most of each; fuzz-short is the part that make test runs"
	@echo "make bench   what a bridge must reach, beside a bare loop, Janus and mediasoup: an hour and a"
	@echo "             quarter of a quiet machine; BENCH=\"cost meeting …\" as python -m benchmarks.bench --help"
	@echo "make bench-report  tables and plots of benchmarks/RESULTS.md from what make bench found"
	@echo "make soak    people use a mesh for half an hour: nothing may grow or get lost;"
	@echo "             SOAK_MINUTES= SOAK_PEOPLE="
	@echo "make clean   remove what was built and installed; meetings' state in .octomesh stays"

up: $(INSTALLED)
	@exec $(BIN)/octomesh up $(UP_FLAGS)

# What minds no neighbour goes two at a time; kernels, networks and browsers have the machine.
test: $(INSTALLED_FOR_TESTS) $(INSTALLED_FOR_CLIENT)
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint types client fuzz-short cores
	@$(MAKE) --no-print-directory machine

lint: $(INSTALLED_FOR_TESTS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED_FOR_TESTS)
	$(BIN)/mypy

client: $(INSTALLED_FOR_CLIENT)
	node_modules/.bin/tsc --project tsconfig.json
	$(if $(CLIENT_TESTS),node --test $(CLIENT_TESTS))

unit: cores machine

cores: $(INSTALLED_FOR_TESTS)
	$(BIN)/python -m pytest $(CORES)

machine: $(INSTALLED_FOR_TESTS)
	$(need-machines)
	$(BIN)/python -m pytest -m "not demanding" $(addprefix --ignore=,tests/fuzz $(CORES))

demanding: $(INSTALLED_FOR_TESTS)
	$(need-machines)
	$(need-mediasoup)
	PATIENCE=1 $(BIN)/python -m pytest tests/e2e tests/test_up.py tests/benchmarks/test_mediasoup.py

explore: $(INSTALLED_FOR_TESTS)
	EXPLORE=1 $(BIN)/python -m pytest tests/relay tests/region tests/focus tests/web

sanitize: $(INSTALLED_FOR_TESTS)
	$(BIN)/python -m tests.fuzz.sanitized -m pytest -p tests.fuzz.sanitized $(KERNEL_TESTS)

fuzz: $(INSTALLED_FOR_TESTS)
	$(BIN)/python -m tests.fuzz all --runs $(FUZZ_RUNS) --seconds $(FUZZ_SECONDS)

fuzz-short: $(INSTALLED_FOR_TESTS)
	$(BIN)/python -m pytest tests/fuzz

bench: $(INSTALLED_FOR_TESTS)
	$(need-janus)
	$(need-mediasoup)
	$(call need,gcc,gcc libc6-dev)
	$(BIN)/python -m benchmarks.bench $(BENCH)

bench-report: $(INSTALLED_FOR_TESTS)
	$(BIN)/python -m benchmarks.report

soak: $(INSTALLED_FOR_TESTS)
	$(BIN)/python -m benchmarks.soak --minutes $(SOAK_MINUTES) --people $(SOAK_PEOPLE)

clean:
	rm -rf $(VENV) build dist *.egg-info node_modules benchmarks/out tests/out
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -f $(foreach ending,so c html,$(addsuffix /*.$(ending),$(COMPILED)))
	find . -name __pycache__ -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml setup.py $(KERNEL)
	$(check-machine)
	@echo "octomesh: installing into $(VENV) and compiling the kernel, once"
	@[ -x $(BIN)/pip ] || $(PYTHON) -m venv $(VENV) || $(call fail,no environment in $(VENV))
	$(call install,.)
	@touch $@

$(INSTALLED_FOR_TESTS): $(INSTALLED)
	@echo "octomesh: installing what the tests need"
	$(call install,.[test])
	@touch $@

# A bridge that benchmarks compare with. Debian would start it, for all the world, where it
# starts services: we start one ourselves, in a network of its own.
define need-janus
	@command -v janus >/dev/null || [ ! -d /run/systemd/system ] || [ "$$(id -u)" != 0 ] \
		|| systemctl mask --quiet janus.service
	$(call need,janus,janus)
	$(call need,ip,iproute2)
endef

# Another one, of which the benchmarks compile what npm has: they take some minutes for it, once.
define need-mediasoup
	$(call need,npm,nodejs npm)
	$(call need,g++,g++)
	$(call need,pkg-config,pkgconf)
	$(call unless,pkg-config --exists $(MEDIASOUP),$(MEDIASOUP_PACKAGES),libraries for mediasoup)
endef

# What the tests on networks and with other stacks use of Debian.
define need-machines
	$(call need,chromium,chromium)
	$(call need,iptables,iptables)
	$(call need,turnserver,coturn)
	$(need-janus)
	$(call unless,/usr/bin/python3 tests/interop/gstreamer_peer.py,$(GSTREAMER),GStreamer)
endef

define check-machine
	@command -v $(PYTHON) >/dev/null || $(call fail,no $(PYTHON): apt-get install python3)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| $(call fail,$$($(PYTHON) --version) is too old: 3.11 or newer$(,) by make PYTHON=…)
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| $(call fail,python has no venv module: apt-get install python3-venv)
	@command -v "$${CC:-gcc}" >/dev/null || $(call fail,no C compiler: apt-get install gcc)
	@echo '#include <stdlib.h>' | "$${CC:-gcc}" -E - >/dev/null 2>&1 \
		|| $(call fail,no C headers: apt-get install libc6-dev)
	@$(PYTHON) -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' \
		2>/dev/null || $(call fail,no Python.h: apt-get install python3-dev)
endef

# The build's own needs go into the environment, so that each later build starts at once.
define install
	@$(PIP) install $$($(BIN)/python -c 'import tomllib; \
		print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"])') \
		&& $(PIP) install --no-build-isolation --editable '$(1)' \
		|| $(call fail,installing into $(VENV) failed; what pip said is above)
endef

$(INSTALLED_FOR_CLIENT): package.json package-lock.json
	$(call need,npm,nodejs npm)
	@npm ci --no-audit --no-fund --silent || $(call fail,npm ci failed; what it said is above)
	@touch $@
