# Strongroom. The targets people use:
#
#   make deps    install what the build needs (Debian packages; asks for root when it must)
#   make build   build/strongroom
#   make run     build, then a development server on 127.0.0.1:10000
#   make test    every test that CI runs
#   make torture faults, crashes and power cuts, simulated and under the server, until stopped
#   make soak    mixed work for HOURS (1), every answer compared, memory and disk watched
#   make bench   comparison tables; leaves build/bench.json
#   make lint    compiler, clang-tidy, gcc -fanalyzer, include direction, format
#   make install PREFIX=/usr/local DESTDIR=
#
# A variant is built beside the plain one with V=asan or V=tsan (build/asan/, build/tsan/).

V        ?= release
PREFIX   ?= /usr/local
DATA     ?= build/dev-data
PORT     ?= 10000
ifeq ($(origin CC),default)
  CC     := gcc
endif
# VERBOSE=1 prints whole commands.
Q        := $(if $(VERBOSE),,@)
say       = $(if $(VERBOSE),,@printf '  %-4s %s\n' $(1) $(2))
JOBS     ?= $(shell nproc)
MAKEFLAGS += --no-print-directory

PKGS     := libmicrohttpd gnutls rocksdb libcrypto jansson expat libcurl yaml-0.1 libseccomp
WARN     := -Wall -Wextra -Werror -Wshadow -Wpointer-arith -Wcast-qual -Wstrict-prototypes \
            -Wmissing-prototypes -Wwrite-strings -Wundef -Wvla -Wformat=2 -Wno-missing-field-initializers
HARDEN   := -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE -fno-plt
LDHARDEN := -pie -Wl,-z,relro,-z,now

ifeq ($(V),release)
  DIR  := build
  OPT  := -O2 -g $(HARDEN)
  LOPT := $(LDHARDEN)
else ifeq ($(V),asan)
  DIR  := build/asan
  OPT  := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
  LOPT := -fsanitize=address,undefined
else ifeq ($(V),tsan)
  DIR  := build/tsan
  OPT  := -O1 -g -fsanitize=thread -fno-omit-frame-pointer
  LOPT := -fsanitize=thread
else
  $(error V must be release, asan or tsan)
endif

CFLAGS  += -std=gnu17 -D_GNU_SOURCE -Isrc $(OPT) $(WARN) $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LDLIBS  += $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lpthread -lm

FOLDERS ?= $(notdir $(patsubst %/,%,$(wildcard src/*/)))
SRCS    := $(filter-out src/cli/main.c,$(shell find $(addprefix src/,$(FOLDERS)) -name '*.c' | LC_ALL=C sort))
OBJS    := $(SRCS:%.c=$(DIR)/obj/%.o)
LIB     := $(DIR)/libstrongroom.a
UNIT    := $(patsubst tests/unit/%_test.c,$(DIR)/unit/%_test,$(wildcard tests/unit/*_test.c))
BENCHES := $(patsubst bench/%.c,$(DIR)/bench/%,$(wildcard bench/*.c))

.PHONY: all build deps deps-test run test test-unit test-sanitize test-wire test-clients test-crash \
        bench torture soak lint format install clean unit-bins

all: build
build: $(DIR)/strongroom

deps:
	tools/deps.sh build
deps-test:
	tools/deps.sh test

$(DIR)/obj/%.o: %.c | .deps-ok
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<
$(LIB): $(OBJS)
	@rm -f $@
	$(call say,AR,$@)
	$(Q)ar rcs $@ $(OBJS)
$(DIR)/strongroom: $(DIR)/obj/src/cli/main.o $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LOPT) -o $@ $< $(LIB) $(LDLIBS)
# What unit tests share (suites, the memory engine): an archive, so that each links only what it uses.
SHARED  := $(filter-out %_test.c,$(wildcard tests/unit/*.c))
$(DIR)/unit/shared.a: $(SHARED:%.c=$(DIR)/obj/%.o)
	@mkdir -p $(@D)
	@rm -f $@
	$(Q)ar rcs $@ $^
$(DIR)/obj/tests/unit/%.o: CPPFLAGS += -Itests/unit
$(DIR)/unit/%_test: tests/unit/%_test.c $(wildcard tests/unit/*.h) $(DIR)/unit/shared.a $(LIB)
	@mkdir -p $(@D)
	$(call say,TEST,$@)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -Itests/unit $(LOPT) -o $@ $< $(DIR)/unit/shared.a $(LIB) -lcmocka $(LDLIBS)
# The simulator: a store over the faulty disk of tests/faults/, whose calls take the place of libc's in it
# and in RocksDB. libfaults.so: the same disk, preloaded into the real program.
FAULTS  := $(wildcard tests/faults/*.c)
$(DIR)/obj/tests/faults/%.o: CFLAGS += -U_FORTIFY_SOURCE
$(DIR)/obj/tests/sim/%.o: CPPFLAGS += -Itests/unit
SIM     := $(patsubst %.c,$(DIR)/obj/%.o,$(filter-out tests/faults/preload.c,$(FAULTS)) $(wildcard tests/sim/*.c))
$(DIR)/sim: $(SIM) $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LOPT) -o $@ $(SIM) $(LIB) -lcmocka $(LDLIBS)
$(DIR)/libfaults.so: $(FAULTS) tests/faults/faults.h
	$(call say,LINK,$@)
	$(Q)$(CC) -std=gnu17 -D_GNU_SOURCE -O2 -g -fPIC -shared -U_FORTIFY_SOURCE $(WARN) -o $@ $(FAULTS) -lpthread

$(DIR)/grow: tests/verifiers/grow/grow.c $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(LOPT) -o $@ $< $(LIB) $(LDLIBS)

$(DIR)/bench/%: bench/%.c $(LIB)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(LOPT) -o $@ $< $(LIB) $(LDLIBS)

# Headers found: nothing is installed behind a developer's back by `make build`; it says what to do.
.PHONY: .deps-ok
.deps-ok:
	@pkg-config --exists $(PKGS) || { echo "make: libraries are missing; run 'make deps' first" >&2; exit 1; }

run:
	@pkg-config --exists $(PKGS) || tools/deps.sh build
	@$(MAKE) -j$(JOBS) build
	@$(DIR)/strongroom serve --dev --data $(DATA) --port $(PORT)

unit-bins: $(UNIT) $(DIR)/sim
test-unit: $(UNIT)
	@for t in $(UNIT); do echo "== $$t"; $$t || exit 1; done

test:
	tools/deps.sh build
	tools/deps.sh test
	$(MAKE) -j$(JOBS) build unit-bins
	tests/run

bench: build
	tools/deps.sh test
	$(MAKE) -j$(JOBS) $(BENCHES)
	bench/run

# FIRST=N: from which seed on; another one each day.
torture: build $(DIR)/sim $(DIR)/libfaults.so
	tests/torture $(FIRST)

HOURS ?= 1
soak: build
	tools/deps.sh test
	build/test-env/python/bin/python -B tests/load/soak.py --seconds $$(($(HOURS) * 3600))

lint:
	tools/check-includes
	tools/lint.sh

format:
	clang-format -i $(shell find src tests bench -name '*.[ch]')

install: build
	install -D -m 0755 $(DIR)/strongroom $(DESTDIR)$(PREFIX)/bin/strongroom
	@for name in azurite azurite-blob; do \
	  at=$(DESTDIR)$(PREFIX)/bin/$$name; \
	  if [ ! -e $$at ] || [ "$$(readlink $$at)" = strongroom ]; then ln -sfn strongroom $$at; \
	  else echo "make: $$at is there and not ours: left alone" >&2; fi; done
	install -D -m 0644 tools/strongroom.service $(DESTDIR)$(PREFIX)/lib/systemd/system/strongroom.service
	install -D -m 0644 tools/strongroom.yaml $(DESTDIR)$(PREFIX)/share/doc/strongroom/strongroom.yaml

clean:
	rm -rf build

-include $(OBJS:.o=.d) $(SIM:.o=.d) $(SHARED:%.c=$(DIR)/obj/%.d) $(DIR)/obj/src/cli/main.d
