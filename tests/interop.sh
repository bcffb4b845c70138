#!/bin/bash
# make interop: what clip_export writes, opened by the libraries it is meant for. They are installed
# into a folder of their own, BUILD/interop-venv, once; PYTHON=... names an interpreter that has
# them already. Where neither can be, it says so and skips.
set -u
build=${BUILD:-build}
packages="torch torchvision open_clip_torch transformers safetensors onnx onnxruntime gguf h5py
    pillow ftfy tensorboard timm"
if [ -z "${PYTHON:-}" ]; then
    venv=$build/interop-venv PYTHON=$build/interop-venv/bin/python
    if [ ! -e "$venv/whole" ]; then
        echo "interop: installing into $venv: $packages" >&2
        # shellcheck disable=SC2086
        if ! { python3 -m venv "$venv" && "$PYTHON" -m pip install -q $packages; } >&2; then
            echo "ok - interop # SKIP the libraries cannot be installed here"
            echo "0 passed, 0 failed, 1 skipped"
            exit 0
        fi
        touch "$venv/whole"
    fi
fi
exec "$PYTHON" tests/interop.py --build "$build" "$@"
