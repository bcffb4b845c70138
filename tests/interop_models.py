#!/usr/bin/env python3
"""Models of the published sizes with random weights, saved by transformers and by open_clip, open
here and give the embeddings that they give there; and what clip_export makes of them opens there.

    python3 tests/interop_models.py BUILD FOLDER [vit-b-32 vit-b-16 vit-l-14]

Needs torch, transformers, open_clip_torch, safetensors, onnxruntime and gguf, 5 GB of room and
6 GB of memory for one model at a time. Compares every embedding: 2e-5 at most. Run by `make
interop`; what it makes in FOLDER is removed as it goes on.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

from interop import load_torchvision  # noqa: E402

load_torchvision()
import gguf  # noqa: E402
import onnxruntime  # noqa: E402
import open_clip  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import CLIPConfig, CLIPModel  # noqa: E402

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


class Case:
    """A model's inputs, what its own library makes of them, and the results so far."""

    def __init__(self, name, pad):
        self.name, self.fine = name, True
        self.pixels = torch.randn(2, 3, 224, 224)
        self.ids = torch.full((3, 77), pad)
        self.ids[:, 0], self.ids[:, 6] = 49406, 49407
        self.ids[:, 1:6] = torch.randint(1, 49000, (3, 5))

    def compare(self, what, image, text):
        off = max((torch.as_tensor(image) - self.image).abs().max().item(),
                  (torch.as_tensor(text) - self.text).abs().max().item())
        fine = off < 2e-5
        self.fine = self.fine and fine
        print(f"  {'ok' if fine else 'not ok'} - {self.name}, {what}: at most {off:.1e} apart",
              flush=True)

    def ours(self, what, model):
        given, got = FOLDER / "given.safetensors", FOLDER / "got.safetensors"
        save_file({"pixel_values": self.pixels, "input_ids": self.ids.int()}, given)
        run("clip_embed", "--model", model, "--tensors", given, "--output", got)
        out = load_file(got)
        self.compare(what, out["image_embeds"], out["text_embeds"])


def run(program, *arguments):
    subprocess.run([BUILD / program, "--quiet", *arguments], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


# ---- what is exported, opened by the libraries it is meant for ----


def in_transformers(case, path):
    model = CLIPModel.from_pretrained(path).eval()
    out = model(pixel_values=case.pixels, input_ids=case.ids)
    case.compare("exported to transformers", out.image_embeds, out.text_embeds)


def in_open_clip(case, path):
    model, _ = open_clip.create_model_from_pretrained(f"local-dir:{path}")
    case.compare("exported to open_clip", model.encode_image(case.pixels, normalize=True),
                 model.encode_text(case.ids, normalize=True))


def in_onnxruntime(case, path):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    image, text = session.run(["image_embeds", "text_embeds"], {
        "pixel_values": case.pixels.numpy(), "input_ids": case.ids.numpy()})
    case.compare("exported to ONNX, by onnxruntime", image, text)


def in_gguf(case, path):
    names = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    patches = torch.tensor(names["v.patch_embd.weight"].data)
    assert torch.equal(patches.flatten(), case.patches.flatten()), "GGUF's patch embedding"
    case.ours(f"exported to GGUF ({len(names)} tensors), by ours", path)


EXPORTS = {"huggingface": in_transformers, "open_clip": in_open_clip, "onnx": in_onnxruntime,
           "gguf": in_gguf}


def check(case, model, exports):
    case.ours("as it was saved", model)
    for form in exports:
        path = FOLDER / f"exported.{form}"
        run("clip_export", "--model", model, "--format", form, "--output", path)
        EXPORTS[form](case, path)
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree(model)
    return case.fine


# ---- models as the two libraries save them ----


def by_transformers(size, exports):
    model = CLIPModel(CLIPConfig(**TRANSFORMERS[size])).eval()
    model.save_pretrained(FOLDER / "model", max_shard_size="400MB")
    case = Case(f"{size} of transformers", 49407)
    out = model(pixel_values=case.pixels, input_ids=case.ids)
    case.image, case.text = out.image_embeds, out.text_embeds
    case.patches = model.vision_model.embeddings.patch_embedding.weight.clone()
    del model, out
    return check(case, FOLDER / "model", exports)


def by_open_clip(size, exports):
    name, folder = OPEN_CLIP[size], FOLDER / "model"
    model = open_clip.create_model(name).eval()
    folder.mkdir()
    config = {"model_cfg": open_clip.get_model_config(name), "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    case = Case(f"{size} of open_clip", 0)
    case.image = model.encode_image(case.pixels, normalize=True)
    case.text = model.encode_text(case.ids, normalize=True)
    case.patches = model.visual.conv1.weight.clone()
    del model
    return check(case, folder, exports)


def main():
    """The smallest size goes through every export; of the others one, which differs with each."""
    torch.manual_seed(0)
    FOLDER.mkdir(parents=True, exist_ok=True)
    results = []
    for size in sys.argv[3:] or OPEN_CLIP:
        small = size == "vit-b-32"
        results.append(by_transformers(size, EXPORTS if small else ["open_clip"]))
        results.append(by_open_clip(size, EXPORTS if small else ["onnx"]))
    return all(results)


if __name__ == "__main__":
    with torch.no_grad():
        sys.exit(0 if main() else 1)
