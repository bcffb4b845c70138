#!/usr/bin/env python3
"""Models of the published sizes with random weights, saved by transformers and by open_clip, open here
and give the embeddings that they give there.

    python3 tests/interop_models.py BUILD FOLDER [vit-b-32 vit-b-16 vit-l-14]

Needs torch, transformers, open_clip_torch and safetensors, and 4 GB of room for one model at a time.
Compares every embedding: 2e-5 at most.
"""
import json, pathlib, shutil, subprocess, sys

import open_clip
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel

BUILD, FOLDER = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
OPEN_CLIP = {"vit-b-32": "ViT-B-32", "vit-b-16": "ViT-B-16", "vit-l-14": "ViT-L-14"}
WIDE = dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16)
TEXT = dict(hidden_size=768, intermediate_size=3072, num_attention_heads=12)
TRANSFORMERS = {
    "vit-b-32": dict(),
    "vit-b-16": dict(vision_config=dict(patch_size=16)),
    "vit-l-14": dict(
        vision_config=dict(patch_size=14, **WIDE), text_config=TEXT, projection_dim=768
    ),
}


def inputs(pad):
    pixels, ids = torch.randn(2, 3, 224, 224), torch.full((3, 77), pad)
    ids[:, 0], ids[:, 1:6], ids[:, 6] = 49406, torch.randint(1, 49000, (3, 5)), 49407
    return pixels, ids


def check(name, model, pixels, ids, image, text):
    given, got = FOLDER / "given.safetensors", FOLDER / "got.safetensors"
    save_file({"pixel_values": pixels, "input_ids": ids.int()}, given)
    subprocess.run([BUILD / "clip_embed", "--quiet", "--model", model, "--tensors", given,
                    "--output", got], check=True, stdout=subprocess.DEVNULL)
    ours = load_file(got)
    off = max((ours["image_embeds"] - image).abs().max(), (ours["text_embeds"] - text).abs().max())
    print(f"{'ok' if off < 2e-5 else 'not ok'} - {name}: at most {off:.1e} apart", flush=True)
    shutil.rmtree(model)
    return off < 2e-5


def by_transformers(size):
    model = CLIPModel(CLIPConfig(**TRANSFORMERS[size])).eval()
    model.save_pretrained(FOLDER / "model", max_shard_size="400MB")
    pixels, ids = inputs(49407)
    out = model(pixel_values=pixels, input_ids=ids)
    return check(f"{size} of transformers", FOLDER / "model", pixels, ids, out.image_embeds,
                 out.text_embeds)


def by_open_clip(size):
    name, folder = OPEN_CLIP[size], FOLDER / "model"
    model = open_clip.create_model(name).eval()
    folder.mkdir()
    config = {"model_cfg": open_clip.get_model_config(name), "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    pixels, ids = inputs(0)
    image, text = model.encode_image(pixels, normalize=True), model.encode_text(ids, normalize=True)
    return check(f"{size} of open_clip", folder, pixels, ids, image, text)


torch.manual_seed(0)
FOLDER.mkdir(parents=True, exist_ok=True)
with torch.no_grad():
    results = [f(size) for size in sys.argv[3:] or OPEN_CLIP for f in (by_transformers, by_open_clip)]
sys.exit(0 if all(results) else 1)
