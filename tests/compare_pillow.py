"""Decode, random resized crop and resize of training images: clip_bench loader against Pillow,
one thread each, in turns on the same images. Prints the ratio of each turn and their median.

    python3 tests/compare_pillow.py FOLDER [--image-size 224] [--count 500] [--turns 7]

Needs Pillow and numpy. What is compared: reading the file, decoding, the crop, resizing to
S x S by bicubic; floats (value / 255 - mean) / std in [3,S,S] are timed beside it.
"""

import argparse
import json
import math
import os
import pathlib
import random
import statistics
import subprocess
import time

os.environ["OMP_NUM_THREADS"] = "1"
import numpy as np
import PIL
from PIL import Image

MEAN = np.float32([0.48145466, 0.4578275, 0.40821073])
STD = np.float32([0.26862954, 0.26130258, 0.27577711])


def draw_crop(width, height, scale_min):
    """torchvision's RandomResizedCrop.get_params."""
    for _ in range(10):
        area = width * height * random.uniform(scale_min, 1)
        aspect = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return random.randint(0, width - w), random.randint(0, height - h), w, h
    return 0, 0, width, height


def pillow(files, size, scale_min):
    image = floats = 0.0
    for file in files:
        start = time.perf_counter()
        image = Image.open(file).convert("RGB")
        left, top, w, h = draw_crop(*image.size, scale_min)
        image = image.crop((left, top, left + w, top + h)).resize((size, size), Image.BICUBIC)
        middle = time.perf_counter()
        values = (np.asarray(image, dtype=np.float32) / 255 - MEAN) / STD
        values = np.ascontiguousarray(values.transpose(2, 0, 1))
        floats += time.perf_counter() - middle
        image += middle - start
    return image / len(files), floats / len(files)


def ours(folder, size, count, scale_min):
    program = os.path.join(os.environ.get("BUILD", "build"), "clip_bench")
    said = subprocess.run(
        [program, "loader", "--data", folder, "--image-size", str(size), "--count", str(count),
         "--rounds", "1", "--aug-scale-min", str(scale_min), "--threads", "1", "--json"],
        check=True, capture_output=True, text=True,
    )
    result = json.loads(said.stdout)
    image = result["read_seconds"] + result["decode_seconds"] + result["augment_seconds"]
    return image, result["normalise_seconds"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--aug-scale-min", type=float, default=0.9)
    given = parser.parse_args()
    files = sorted(p for p in pathlib.Path(given.folder).rglob("*") if p.suffix == ".jpg")
    count = min(given.count, len(files))
    files = [files[i * len(files) // count] for i in range(count)]
    pillow(files, given.image_size, given.aug_scale_min)  # files into the page cache
    ratios, with_floats = [], []
    for turn in range(given.turns):
        theirs, their_floats = pillow(files, given.image_size, given.aug_scale_min)
        mine, my_floats = ours(given.folder, given.image_size, count, given.aug_scale_min)
        ratios.append(theirs / mine)
        with_floats.append((theirs + their_floats) / (mine + my_floats))
        print(f"Pillow {theirs * 1e3:.3f} + {their_floats * 1e3:.3f} ms, "
              f"clip.c {mine * 1e3:.3f} + {my_floats * 1e3:.3f} ms: {ratios[-1]:.2f} x")
    print(f"Pillow {PIL.__version__}, {given.image_size} x {given.image_size}, {count} images: "
          f"{statistics.median(ratios):.2f} x, with floats {statistics.median(with_floats):.2f} x")


if __name__ == "__main__":
    main()
