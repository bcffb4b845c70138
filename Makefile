# clip.c: contrastive image-text training in C.   make help
# MPI=1: for many processes (core/comm.h), in a folder of its own.
MPI ?=
BUILD ?= $(if $(MPI),build-mpi,build)
PREFIX ?= /usr/local
DESTDIR ?=
OPT ?= -O3
FUZZ_SECONDS ?= 60
FAULTS ?= 20
MINUTES ?= 30
COUNT ?= 10000
VERSION := $(shell cat VERSION)
export BUILD
MAKEFLAGS += --no-builtin-rules
DEFINES =
Q = $(if $(V),,@)

# ---- What is built from what ----
ROOMS = core kernels autograd autograd/ops model optim checkpoints data/text data/image data/demo \
	data/sets formats embed eval search guide
FOLDERS = $(ROOMS) train bench
PACKAGES = hdf5-serial inih jansson libutf8proc libpcre2-8 libarchive libpng zlib
TEST_PACKAGES = cmocka

# clang without libomp-dev has no OpenMP: one thread then, by another file.
CLANG := $(findstring clang,$(shell $(CC) --version 2>/dev/null))
OPENMP := $(if $(CLANG),$(shell $(CC) -fopenmp -include omp.h -E -x c /dev/null >/dev/null 2>&1 \
	&& echo yes),yes)
ifeq ($(OPENMP),yes)
THREADS_FLAGS = -fopenmp
UNUSED_SOURCES = core/threads_serial.c
else
THREADS_FLAGS = -fopenmp-simd
UNUSED_SOURCES = core/threads.c
endif

# An optional library is an alternative file: one of each pair is compiled, by what pkg-config finds
# or by `make JPEG=stb` and the like.
has = $(shell pkg-config --exists $(1) && echo yes)
JPEG ?= $(if $(call has,libjpeg),turbo,stb)
WEBP ?= $(if $(call has,libwebp libwebpdemux),libwebp,none)
HEIF ?= $(if $(call has,libheif),libheif,none)
UNUSED_SOURCES += $(if $(filter turbo,$(JPEG)),data/image/image_jpeg_stb.c data/image/stb_image.c,\
	data/image/image_jpeg_turbo.c)
UNUSED_SOURCES += $(if $(filter libwebp,$(WEBP)),data/image/image_webp_none.c,\
	data/image/image_webp.c)
UNUSED_SOURCES += $(if $(filter libheif,$(HEIF)),data/image/image_heif_none.c,\
	data/image/image_heif.c)
PACKAGES += $(if $(filter turbo,$(JPEG)),libjpeg) \
	$(if $(filter libwebp,$(WEBP)),libwebp libwebpdemux) $(if $(filter libheif,$(HEIF)),libheif)
UNUSED_SOURCES += $(if $(filter turbo,$(JPEG)),\
	data/image/image_small_png.c,data/image/image_small_jpeg.c)
# Many processes: one file is another one, and the programs are linked with MPI.
UNUSED_SOURCES += $(if $(MPI),core/comm_self.c,core/comm_mpi.c)
MPI_LIBS = $(if $(MPI),$(shell pkg-config --libs ompi-c 2>/dev/null))
# clip_search serve: what it needs beyond the library is linked into it alone.
HTTP ?= $(if $(call has,libmicrohttpd),microhttpd,none)
UNUSED_SERVE = $(if $(filter none,$(HTTP)),serve/http_microhttpd.c,serve/http_none.c)
SERVE_LIBS = $(if $(filter none,$(HTTP)),,$(shell pkg-config --libs libmicrohttpd 2>/dev/null))
# ONNX: protoc-c makes C of the format's own description.
ONNX_PROTO ?= $(firstword $(wildcard /usr/include/onnx/onnx.proto))
ONNX ?= $(if $(and $(ONNX_PROTO),$(call has,libprotobuf-c),$(shell command -v protoc-c)),\
	protobuf-c,none)
UNUSED_SOURCES += $(if $(filter none,$(ONNX)),checkpoints/onnx.c,checkpoints/onnx_none.c)
PACKAGES += $(if $(filter none,$(ONNX)),,libprotobuf-c)
ONNX_OBJECTS = $(if $(filter none,$(ONNX)),,$(BUILD)/obj/onnx.pb-c.o)

WARN = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
	-Wwrite-strings -Wno-missing-field-initializers
CPPFLAGS += -I. $(if $(ONNX_OBJECTS),-I$(BUILD)/proto) -D_GNU_SOURCE \
	$(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
CFLAGS += -std=c11 $(OPT) -g $(THREADS_FLAGS) -fPIC -fvisibility=hidden $(WARN)
LDLIBS += $(shell pkg-config --libs $(PACKAGES) 2>/dev/null) -lgif -lpthread -lm $(MPI_LIBS)

# These are compiled once for each instruction set; the program chooses when it starts.
PER_SET = kernels/rows kernels/finish kernels/pixels
ROWS = ref $(if $(findstring x86_64,$(shell $(CC) -dumpmachine)),avx2 avx512)
# (clang says of a maximum that it cannot vectorise it; that loop is none that takes time.)
ROWS_FLAGS = -fno-math-errno -fno-trapping-math -ffp-contract=fast \
	$(if $(CLANG),-Wno-pass-failed)
MARCH_avx2 = -march=x86-64-v3
MARCH_avx512 = -march=x86-64-v4 -mprefer-vector-width=512

# Fuzzing has other flags for them: nothing there reads a file, and their loops grow beyond measure.
ifdef KERNELS_OPT
$(BUILD)/obj/kernels/%.o: override OPT = $(KERNELS_OPT)
endif

objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
PER_SET_OBJECTS = $(foreach set,$(ROWS),$(PER_SET:%=$(BUILD)/obj/%_$(set).o))
X86_SOURCES = kernels/gemm_avx2.c kernels/gemm_avx512.c kernels/gemm_bf16.c \
	kernels/gemm_amx.c
UNUSED_SOURCES += $(if $(filter avx2,$(ROWS)),,$(X86_SOURCES))
LIB_SOURCES = $(filter-out $(UNUSED_SOURCES) $(PER_SET:%=%.c),$(wildcard $(FOLDERS:%=%/*.c)))
LIB_OBJECTS = $(call objects,$(LIB_SOURCES)) \
	$(if $(filter kernels,$(FOLDERS)),$(PER_SET_OBJECTS)) $(ONNX_OBJECTS)
SERVE_SOURCES = $(filter-out $(UNUSED_SERVE),$(wildcard serve/*.c))
SERVE_OBJECTS = $(call objects,$(SERVE_SOURCES)) $(BUILD)/obj/page.o
PAGE_FILES = $(sort $(wildcard serve/page/*))
TOOL_SOURCES = $(wildcard tools/clip_*.c)
TOOL_HELPERS = $(filter-out $(TOOL_SOURCES),$(wildcard tools/*.c))
TEST_SOURCES = $(wildcard tests/test_*.c)
TEST_HELPERS = $(filter-out $(TEST_SOURCES),$(wildcard tests/*.c))
FUZZ_SOURCES = $(wildcard tests/fuzz/fuzz_*.c)
PROGRAMS = $(TOOL_SOURCES:tools/%.c=$(BUILD)/%)
TEST_PROGRAMS = $(TEST_SOURCES:tests/%.c=$(BUILD)/tests/%)
FUZZ_PROGRAMS = $(FUZZ_SOURCES:tests/fuzz/%.c=$(BUILD)/fuzz/%)
FIXTURE_TESTS = $(patsubst tests/%.c,$(BUILD)/tests/%,\
	$(shell grep -l -E 'test_root|fixture_read' $(TEST_SOURCES) 2>/dev/null))
SHELL_TESTS = $(wildcard tests/test_*.sh)
ALL_OBJECTS = $(LIB_OBJECTS) $(SERVE_OBJECTS) \
	$(call objects,$(TOOL_SOURCES) $(TOOL_HELPERS) $(TEST_SOURCES) \
	$(TEST_HELPERS) $(FUZZ_SOURCES))

all: $(PROGRAMS)

# ---- Rules ----
# Everything depends on the compiler and its flags, kept in a file that changes only when they do.
# `make clean all` cleans first, however many jobs there are.
FLAGS = $(strip $(CC) $(subst -I$(BUILD)/,-I,$(CPPFLAGS)) $(CFLAGS) $(LDFLAGS) \
	$(filter-out $(MPI_LIBS),$(LDLIBS)) $(VERSION))
CLEAN_FIRST = $(filter clean,$(MAKECMDGOALS))

$(BUILD)/flags: FORCE | $(CLEAN_FIRST)
	@pkg-config --exists --print-errors $(PACKAGES) $(if $(MPI),ompi-c) || \
		{ echo "make: something is missing; get it with: make setup" >&2; exit 1; }
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(FLAGS))' >$@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi
$(BUILD)/prefix: FORCE | $(BUILD)/flags
	@echo '$(PREFIX)' >$@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi
$(BUILD)/packages: FORCE | $(BUILD)/flags
	@echo '$(PACKAGES)' >$@
$(ALL_OBJECTS): $(BUILD)/flags

$(BUILD)/obj/data/text/tokenizer%.o: DEFINES = -DCLIP_PREFIX='"$(PREFIX)"'
$(filter $(BUILD)/obj/data/text/tokenizer%.o,$(LIB_OBJECTS)): $(BUILD)/prefix
$(BUILD)/obj/kernels/gemm_avx2.o: DEFINES = $(MARCH_avx2)
$(BUILD)/obj/kernels/gemm_avx512.o: DEFINES = $(MARCH_avx512)
$(BUILD)/obj/kernels/gemm_bf16.o: DEFINES = $(MARCH_avx512) -mavx512bf16
$(BUILD)/obj/kernels/gemm_amx.o: DEFINES = $(MARCH_avx512) -mamx-tile -mamx-bf16
$(BUILD)/obj/core/comm_mpi.o: DEFINES = $(shell pkg-config --cflags ompi-c 2>/dev/null)
# stb_image counts on signed sums that wrap.
$(BUILD)/obj/data/image/stb_image.o: DEFINES = -fwrapv
$(BUILD)/obj/tools/cli.o $(BUILD)/obj/core/version.o: DEFINES = -DCLIP_VERSION='"$(VERSION)"'

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo '  CC   $<'
	$(Q)$(CC) $(CPPFLAGS) $(DEFINES) $(CFLAGS) -MMD -MP -c $< -o $@
define FOR_SET
$$(PER_SET:%=$$(BUILD)/obj/%_$(1).o): $$(BUILD)/obj/%_$(1).o: %.c
	@mkdir -p $$(@D)
	@echo '  CC   $$< ($(1))'
	$$(Q)$$(CC) $$(CPPFLAGS) $$(CFLAGS) $$(ROWS_FLAGS) -DCLIP_INSTRUCTION_SET=$(1) \
		$$(MARCH_$(1)) -MMD -MP -c $$< -o $$@
endef
$(foreach set,$(ROWS),$(eval $(call FOR_SET,$(set))))

$(BUILD)/proto/onnx/onnx.pb-c.h: $(ONNX_PROTO)
	@mkdir -p $(@D)
	@echo '  GEN  $@'
	$(Q)protoc-c --c_out=$(BUILD)/proto -I$(dir $(patsubst %/,%,$(dir $<))) onnx/onnx.proto
$(BUILD)/obj/onnx.pb-c.o: $(BUILD)/proto/onnx/onnx.pb-c.h
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -w -c $(<:.h=.c) -o $@
$(BUILD)/obj/checkpoints/onnx.o: $(ONNX_OBJECTS)

$(BUILD)/libclip.a: $(LIB_OBJECTS)
$(BUILD)/libtools.a: $(call objects,$(TOOL_HELPERS))
$(BUILD)/libserve.a: $(SERVE_OBJECTS)
$(BUILD)/libtests.a: $(call objects,$(TEST_HELPERS))
$(BUILD)/%.a:
	@rm -f $@
	@echo '  AR   $@'
	$(Q)$(AR) rcs $@ $^
# nodelete: OpenMP's threads wait for their next loop after dlclose too, in code that has to stay.
$(BUILD)/libclip.so: $(LIB_OBJECTS)
	@echo '  LINK $@'
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -shared -Wl,-soname,libclip.so.1 -Wl,-z,defs -Wl,-z,nodelete $^ \
		$(LDLIBS) -o $@

# The library stands last, behind what needs it.
last_libclip = $(filter-out %/libclip.a,$^) $(BUILD)/libclip.a
SERVING = $(BUILD)/clip_search $(BUILD)/tests/test_api $(BUILD)/tests/test_serve \
	$(BUILD)/tests/test_catalogue $(BUILD)/tests/test_callers
$(SERVING): $(BUILD)/libserve.a
$(SERVING): MORE_LIBS = $(SERVE_LIBS)
$(BUILD)/page.c: tools/embed.sh $(PAGE_FILES)
	@mkdir -p $(@D)
	@echo '  GEN  $@'
	$(Q)tools/embed.sh $(PAGE_FILES) >$@.new && mv $@.new $@
$(BUILD)/obj/page.o: $(BUILD)/page.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@
$(BUILD)/clip_%: $(BUILD)/obj/tools/clip_%.o $(BUILD)/libtools.a $(BUILD)/libclip.a
	@echo '  LINK $@'
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $(last_libclip) $(MORE_LIBS) $(LDLIBS) -o $@
$(BUILD)/tests/test_%: $(BUILD)/obj/tests/test_%.o $(BUILD)/obj/tests/only.o \
		$(BUILD)/libtests.a $(BUILD)/libtools.a $(BUILD)/libclip.a
	@mkdir -p $(@D)
	@echo '  LINK $@'
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $(last_libclip) $(MORE_LIBS) $(LDLIBS) -lcmocka -o $@
$(BUILD)/fuzz/fuzz_%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(BUILD)/libclip.a
	@mkdir -p $(@D)
	@echo '  LINK $@'
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -fsanitize=fuzzer $^ $(LDLIBS) -o $@
$(BUILD)/man/%.1: $(BUILD)/% tools/man.sh
	@mkdir -p $(@D)
	@tools/man.sh $< >$@.new && mv $@.new $@

# ---- What a person asks for ----
# setup may install the libraries that the flags above come from, so what follows it is a new make.
setup:
	@tools/setup.sh $(if $(MPI),mpi)
setup-tests:
	@tools/setup.sh test $(if $(MPI),mpi)
# SOME="test_core test_cli" takes only these.
wanted_tests = $(if $(SOME),$(foreach test,$(SOME),$(if $(wildcard tests/$(test).sh),\
	tests/$(test).sh,$(BUILD)/tests/$(test))),$(sort $(TEST_PROGRAMS)) $(SHELL_TESTS))
demo: setup
	@$(MAKE) --no-print-directory all
	@tools/demo.sh
test: setup-tests
	@$(MAKE) --no-print-directory all $(filter $(BUILD)/%,$(wanted_tests)) installable
	@tests/run.sh $(wanted_tests)
check: test
test-fixtures: setup-tests
	@$(MAKE) --no-print-directory tests
	@tests/run.sh $(sort $(FIXTURE_TESTS))
# Every call may fail: FAULTS places per kind of call (0: all of them), in each scenario or in SOME.
# SEED draws other places, JOBS=2 runs two scenarios at a time, LOG=FILE goes on where it stopped.
faults: all $(BUILD)/faults/shim.so
	@FAULTS='$(FAULTS)' BUILD='$(BUILD)' tests/faults/run.sh $(SOME)
$(BUILD)/faults/shim.so: tests/faults/shim.c
	@mkdir -p $(@D)
	@echo '  LINK $@'
	$(Q)$(CC) -D_GNU_SOURCE -std=c11 -O1 -g $(WARN) -shared -fPIC $< -o $@ -ldl
test-kill: all
	@KILLS=100 tests/run.sh tests/test_search_kill.sh
# Use for MINUTES: serving, indexing, training, with kills and restarts.
soak: all
	@MINUTES='$(MINUTES)' TEST_SECONDS=100000 tests/run.sh tests/soak/run.sh
# Many processes, one result: KILLS=50 kills more of them.
test-many: setup-tests all
	@tools/setup.sh test mpi
	@[ -e build-mpi/flags ] || { mkdir -p build-mpi && cp -a $(BUILD)/obj $(BUILD)/flags build-mpi && \
		find build-mpi/obj -name '*.d' -exec sed -i 's|^$(BUILD)/obj|build-mpi/obj|' {} +; }
	@$(MAKE) --no-print-directory MPI=1 BUILD=build-mpi build-mpi/clip_train \
		build-mpi/tests/test_comm
	@BUILD_MPI=build-mpi tests/run.sh tests/many.sh
test-page: all
	@tests/run.sh tests/page.sh tests/page_report.sh
tests: $(TEST_PROGRAMS)
# How each file is compiled, for editors: what make would run, as JSON.
compile_commands.json: FORCE
	@$(MAKE) --no-print-directory -Bn $(ALL_OBJECTS) >$@.make
	@tools/compile_commands.sh <$@.make >$@.new && mv $@.new $@
	@rm $@.make
lint: $(BUILD)/libclip.a
	@CPPFLAGS='$(CPPFLAGS) $(shell pkg-config --cflags ompi-c 2>/dev/null)' WARN='$(WARN)' \
		tools/lint.sh

# The same tests under other eyes. SOME="test_core test_rows" takes only these.
chosen = $(if $(SOME),$(SOME:%=$(1)/tests/%),$(patsubst $(BUILD)/%,$(1)/%,$(sort $(TEST_PROGRAMS))))
SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
asan: setup-tests
	@$(MAKE) --no-print-directory BUILD=$(BUILD)-asan OPT='-O1 $(SANITIZE)' \
		$(call chosen,$(BUILD)-asan)
	@BUILD=$(BUILD)-asan tests/run.sh $(call chosen,$(BUILD)-asan)
# Threads: the loader, the page's server, the library with several callers at once.
THREADED = test_callers test_loader test_stream test_packed test_serve test_api test_catalogue \
	test_embedder test_public
tsan: setup-tests
	@$(MAKE) --no-print-directory BUILD=$(BUILD)-tsan \
		OPT='-O1 -fsanitize=thread -fno-omit-frame-pointer' \
		$(addprefix $(BUILD)-tsan/tests/,$(or $(SOME),$(THREADED)))
	@UNDER='setarch -R' OMP_NUM_THREADS=1 OMP_THREAD_LIMIT=1 \
		TSAN_OPTIONS='suppressions=tests/tsan.supp exitcode=66' \
		tests/run.sh $(addprefix $(BUILD)-tsan/tests/,$(or $(SOME),$(THREADED)))
# What the tests reach: all of them or SOME; the lines and error paths that none does.
coverage: setup-tests
	@$(MAKE) --no-print-directory BUILD=$(BUILD)-coverage OPT='-O0 --coverage' \
		all $(call chosen,$(BUILD)-coverage)
	@find $(BUILD)-coverage -name '*.gcda' -delete
	@BUILD=$(BUILD)-coverage tests/run.sh $(call chosen,$(BUILD)-coverage)
	@tools/coverage.sh $(BUILD)-coverage
# (libjpeg-turbo's vector code moves bytes about that valgrind takes for used.)
valgrind: setup-tests
	@$(MAKE) --no-print-directory $(call chosen,$(BUILD))
	@UNDER='valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite' \
		JSIMD_FORCENONE=1 OMP_WAIT_POLICY=passive tests/run.sh $(call chosen,$(BUILD))
# What is exported, opened by the libraries it is meant for. PYTHON=... has them already.
interop: all
	@BUILD=$(BUILD) PYTHON='$(PYTHON)' tests/interop.sh $(SOME)
# COUNT damaged files of each format, opened under the sanitizers. FORMAT=gguf takes only some.
mutate: setup-tests
	@$(MAKE) --no-print-directory BUILD=$(BUILD)-asan OPT='-O1 $(SANITIZE)' \
		$(BUILD)-asan/tests/test_mutate
	@MUTATE_COUNT=$(COUNT) MUTATE_FORMAT='$(FORMAT)' TEST_SECONDS=36000 \
		ASAN_OPTIONS=max_allocation_size_mb=512 tests/run.sh $(BUILD)-asan/tests/test_mutate
fuzz:
	@$(MAKE) --no-print-directory BUILD=$(BUILD)-fuzz CC=clang \
		FOLDERS='$(ROOMS)' \
		OPT='-O1 $(SANITIZE) -fsanitize=fuzzer-no-link' KERNELS_OPT=-O1 fuzz-programs
	@FUZZ_SECONDS=$(FUZZ_SECONDS) BUILD=$(BUILD)-fuzz tests/fuzz.sh \
		$(FUZZ_PROGRAMS:$(BUILD)/%=$(BUILD)-fuzz/%)
fuzz-programs: $(FUZZ_PROGRAMS)

install: installable
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' tools/install.sh
installable: $(PROGRAMS) $(BUILD)/libclip.a $(BUILD)/libclip.so $(BUILD)/packages \
	$(PROGRAMS:$(BUILD)/%=$(BUILD)/man/%.1)
clean:
	rm -rf $(BUILD) $(BUILD)-asan $(BUILD)-tsan $(BUILD)-coverage $(BUILD)-fuzz compile_commands.json

help:
	@echo 'make                build every program into $(BUILD)/'
	@echo 'make demo           install what is missing, build, train the demo, show its accuracy'
	@echo 'make test           install what is missing, build, run all tests (also: make check)'
	@echo 'make test-fixtures  only the tests on reference values ($$CLIP_FIXTURES: another set)'
	@echo 'make test-kill      kill the indexer 100 times at random: nothing may be lost'
	@echo 'make faults       FAULTS ($(FAULTS)) calls of each kind fail, one by one    (SOME="train")'
	@echo 'make soak           serve, index and train for MINUTES ($(MINUTES)), with kills'
	@echo 'make test-page      drive the pages of search and of a run in headless Chromium'
	@echo 'make lint           rooms, format, style, warnings of gcc and clang'
	@echo 'make asan           the tests under AddressSanitizer and UBSan'
	@echo 'make tsan           the tests of what has threads under the thread sanitizer'
	@echo 'make coverage       lines and error paths that no test reaches, by room and reason'
	@echo 'make valgrind       the tests under valgrind'
	@echo 'make interop        open exports with transformers, open_clip, onnxruntime, gguf'
	@echo 'make mutate         open COUNT ($(COUNT)) damaged files of each format, under sanitizers'
	@echo 'make fuzz           every fuzz target for FUZZ_SECONDS ($(FUZZ_SECONDS)) each, by clang'
	@echo 'make install        into PREFIX ($(PREFIX)), below DESTDIR'
	@echo 'make setup          install what building needs, and only what is missing'
	@echo 'make compile_commands.json  how each file is compiled, for clangd and other editors'
	@echo 'make clean          remove what was built'
	@echo 'SOME="test_core test_cli": only these tests (test, asan, valgrind)'
	@echo 'V=1: show the commands. CC=clang, OPT=-O2, BUILD=folder, -j8: as usual'
	@echo 'JPEG=turbo|stb, WEBP=libwebp|none: which library decodes (now: $(JPEG), $(WEBP))'
	@echo 'HEIF=libheif|none: HEIC and AVIF (now: $(HEIF))'
	@echo 'HTTP=microhttpd|none: clip_search serve (now: $(HTTP))'
	@echo 'ONNX=protobuf-c|none: clip_export --format onnx (now: $(ONNX))'

FORCE:
.PHONY: all setup setup-tests demo test check test-fixtures test-kill faults test-page tests \
	lint asan tsan coverage soak valgrind interop mutate fuzz fuzz-programs install installable \
	clean help FORCE
.DELETE_ON_ERROR:
-include $(ALL_OBJECTS:.o=.d)
