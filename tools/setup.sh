#!/bin/bash
# Installs what building needs, where it is missing (Debian and its kin, by apt-get).
#     tools/setup.sh          the programs
#     tools/setup.sh test     and the tests
#     tools/setup.sh ci       and the checks: clang, valgrind
#     tools/setup.sh mpi      the programs for many processes (with test: their tests)
# A machine that has everything is not touched, and no network is needed there.
set -eu
what=" $* "

# Each line: what it is for, the Debian package, the command that finds it.
needs() {
    cat <<'LIST'
- gcc command -v cc
- libc6-dev test -e /usr/include/stdio.h
- make command -v make
- pkg-config command -v pkg-config
- libhdf5-dev pkg-config --exists hdf5-serial
- libinih-dev pkg-config --exists inih
- libjansson-dev pkg-config --exists jansson
- libutf8proc-dev pkg-config --exists libutf8proc
- libpcre2-dev pkg-config --exists libpcre2-8
- libarchive-dev pkg-config --exists libarchive
- libpng-dev pkg-config --exists libpng
- libjpeg62-turbo-dev pkg-config --exists libjpeg
- libwebp-dev pkg-config --exists libwebp libwebpdemux
- libheif-dev pkg-config --exists libheif
- zlib1g-dev pkg-config --exists zlib
- libmicrohttpd-dev pkg-config --exists libmicrohttpd
- libgif-dev test -e /usr/include/gif_lib.h
- libstb-dev test -e /usr/include/stb/stb_image.h
- libprotobuf-c-dev pkg-config --exists libprotobuf-c
- protobuf-c-compiler command -v protoc-c
- libonnx-dev test -e /usr/include/onnx/onnx.proto
test libcmocka-dev pkg-config --exists cmocka
test libopenblas0-openmp ls /usr/lib/*-linux-gnu/libopenblas.so.0
mpi libopenmpi-dev pkg-config --exists ompi-c
mpi openmpi-bin command -v mpirun
ci clang command -v clang
ci libclang-rt-14-dev ls /usr/lib/llvm-14/lib/clang/14.0.6/lib/linux/libclang_rt.fuzzer-*.a
ci valgrind command -v valgrind
ci clang-format command -v clang-format
LIST
}

missing() {
    needs | while read -r for package check; do
        case "$for:$what" in
        -:* | test:*" test "* | test:*" ci "* | ci:*" ci "* | mpi:*" mpi "* | mpi:*" ci "*) ;;
        *) continue ;;
        esac
        # shellcheck disable=SC2086
        $check >/dev/null 2>&1 || echo "$package"
    done
}

packages=$(missing | tr '\n' ' ')
[ -z "${packages% }" ] && exit 0

echo "setup: missing here: $packages" >&2
if ! command -v apt-get >/dev/null; then
    echo "setup: there is no apt-get; install these, or what your system calls them, by hand" >&2
    exit 1
fi
as_root=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "setup: run this as root: apt-get install $packages" >&2
        exit 1
    fi
    as_root=sudo
fi
echo "setup: installing them with ${as_root:+sudo }apt-get" >&2
export DEBIAN_FRONTEND=noninteractive
# An old list of packages may do; where it does not, a new one is fetched.
# shellcheck disable=SC2086
$as_root apt-get install -y --no-install-recommends $packages >&2 || {
    $as_root apt-get update >&2
    $as_root apt-get install -y --no-install-recommends $packages >&2
}

# From Debian 13 on libheif's decoders (HEVC, AV1) are packages of their own.
case " $packages" in
*" libheif-dev "*)
    for plugin in libheif-plugin-libde265 libheif-plugin-dav1d; do
        apt-cache show "$plugin" >/dev/null 2>&1 || continue
        $as_root apt-get install -y --no-install-recommends "$plugin" >&2
    done
    ;;
esac

packages=$(missing | tr '\n' ' ')
if [ -n "${packages% }" ]; then
    echo "setup: still missing after the installation: $packages" >&2
    exit 1
fi
