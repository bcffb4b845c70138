#!/usr/bin/env python3
"""Makes the HEIC and AVIF files that tests/test_image_heif.c reads and fuzzing begins with.

    python3 tests/make_heif.py [FOLDER]      (default: `fuzz/seeds/fuzz_image` beside this script)

All of them show one gradient, 64 x 48 unless the name says otherwise: red grows by 4 from column to
column, green by 5 from row to row, blue is 128. Needs numpy, Pillow 11.3 or newer (AVIF) and
pillow-heif; the product itself needs none of them, and its tests only the files.
"""

import pathlib, sys

import numpy as np
import pillow_heif
from PIL import Image

OUT = pathlib.Path(
    sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "fuzz/seeds/fuzz_image"
)


def gradient(width=64, height=48):
    y, x = np.mgrid[:height, :width]
    return np.stack([4 * x % 256, 5 * y % 256, 0 * x + 128], -1).astype(np.uint8)


def turned(orientation):
    """EXIF; pillow-heif writes irot and imir for it, and EXIF keeps saying it too, as on phones."""
    exif = Image.Exif()
    exif[0x112] = orientation
    return exif.tobytes()


def heic(name, pixels, mode="RGB", **options):
    file = pillow_heif.from_bytes(mode, pixels.shape[1::-1], pixels.tobytes())
    options = {"quality": 95, "subsampling": "4:2:0", "save_nclx_profile": False} | options
    file.save(OUT / name, **options)


rgb = gradient()
opaque_to_clear = np.linspace(255, 1, 64).astype(np.uint8)[None, :, None].repeat(48, 0)
OUT.mkdir(parents=True, exist_ok=True)
pillow_heif.register_heif_opener()
heic("gradient.heic", rgb)
heic("alpha.heic", np.concatenate([rgb, opaque_to_clear], -1), "RGBA")
heic("grey.heic", np.ascontiguousarray(rgb[..., 0]), "L")
heic("ten_bits.heic", rgb.astype(np.uint16) << 8, "RGB;16")
heic("grid_128x96.heic", np.tile(rgb, (2, 2, 1)), tile_size=64)
for orientation in (3, 6, 7):
    image = Image.fromarray(rgb)
    image.save(
        OUT / f"turned_{orientation}.heic",
        quality=95,
        exif=turned(orientation),
        save_nclx_profile=False,
    )
Image.fromarray(rgb).save(OUT / "gradient.avif", quality=95)
Image.fromarray(rgb).save(OUT / "turned_6.avif", quality=95, exif=turned(6))
