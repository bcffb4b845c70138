#!/usr/bin/env python3
"""Looks at a native checkpoint with h5py, as somebody else's program would; run by hand:

    python3 tests/interop_h5py.py CHECKPOINT.h5 [EXPORT.safetensors]

Checks the first block, that every parameter is a float dataset with open_clip's name and a
fletcher32 checksum, that the texts read as text, and that a safetensors export of the same model
(clip_export --format safetensors) holds the same numbers. Needs h5py, numpy, safetensors."""
import json
import os
import sys
import zlib

import h5py
import numpy


def check_block(path):
    with open(path, "rb") as file:
        block = file.read(512)
        rest = file.read()
    lines = block.rstrip(b"\0").decode("ascii").splitlines()
    assert lines[0] == "clip.c checkpoint 1", lines
    assert int(lines[1].split()[1]) == os.path.getsize(path), lines
    assert int(lines[2].split()[1], 16) == zlib.crc32(rest), lines


def check_tensors(file):
    names = []

    def visit(name, item):
        if not isinstance(item, h5py.Dataset) or item.dtype.kind == "S":
            return
        names.append(name)
        if item.shape != () and item.size:
            assert item.fletcher32 and item.compression is None, name
        assert numpy.isfinite(numpy.asarray(item[()], dtype="f4")).all(), name

    file.visititems(visit)
    for name in ("model/visual.conv1.weight", "model/logit_scale", "model/text_projection"):
        assert name in names, name
    return names


def main():
    check_block(sys.argv[1])
    with h5py.File(sys.argv[1], "r") as file:
        assert file.userblock_size == 512
        names = check_tensors(file)
        config = json.loads(file["config"][()])
        assert file["format"][()].decode() == "clip.c 1"
        width = config["model_cfg"]["vision_cfg"]["width"]
        assert file["model/visual.conv1.weight"].shape[0] == width
        texts = [key for key in file if isinstance(file[key], h5py.Dataset)]
        print(len(names), "tensors,", "texts:", *texts)
        if len(sys.argv) > 2:
            from safetensors.numpy import load_file
            other = load_file(sys.argv[2])
            assert other.keys() == file["model"].keys(), set(other) ^ set(file["model"])
            for name, value in other.items():
                assert (file["model"][name][()] == value).all(), name
            print(len(other), "weights are those of", sys.argv[2])


if __name__ == "__main__":
    main()
