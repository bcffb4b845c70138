#!/usr/bin/env python3
"""Makes the HEIC and AVIF files that tests/test_image_heif.c reads and fuzzing begins with.

    python3 tests/make_heif.py [FOLDER]      (default: `fuzz/seeds/fuzz_image` beside this script)

All of them show one gradient, 80 x 64 unless the name says otherwise: red grows by 3 from column to
column, green by 4 from row to row, blue is 128. (HEVC's smallest image is 64 x 64; libheif 1.19
turns a smaller one, which it crops, wrongly.) Needs numpy, Pillow 11.3 or newer (AVIF) and
pillow-heif; the product itself needs none of them, and its tests only the files.
"""

import pathlib, sys

import numpy as np
import pillow_heif
from PIL import Image

OUT = pathlib.Path(
    sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "fuzz/seeds/fuzz_image"
)


def gradient(width=80, height=64):
    y, x = np.mgrid[:height, :width]
    return np.stack([3 * x, 4 * y, 0 * x + 128], -1).astype(np.uint8)


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
opaque_to_clear = np.linspace(255, 1, 80).astype(np.uint8)[None, :, None].repeat(64, 0)
OUT.mkdir(parents=True, exist_ok=True)
pillow_heif.register_heif_opener()
heic("gradient.heic", rgb)
heic("cropped_64x48.heic", gradient(64, 48))  # coded as 64 x 64
heic("alpha.heic", np.concatenate([rgb, opaque_to_clear], -1), "RGBA")
half_clear = np.linspace(255, 128, 80).astype(np.uint8)[None, :, None].repeat(64, 0)
scaled = (rgb.astype(int) * half_clear // 255).astype(np.uint8)
heic("premultiplied.heic", np.concatenate([scaled, half_clear], -1), "RGBa")
heic("grey.heic", np.ascontiguousarray(rgb[..., 0]), "L")
heic("ten_bits.heic", rgb.astype(np.uint16) << 8, "RGB;16")
heic("grid_160x128.heic", np.tile(rgb, (2, 2, 1)), tile_size=64)
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
