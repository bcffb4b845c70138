#!/usr/bin/env python3
"""Writes tests/reference/siglip_openclip_tiny and custom_text_tiny: toy models of random
weights as open_clip's CustomTextCLIP keeps them, and the numbers that it computes.

    pip install open_clip_torch==3.3.0 timm==1.0.31 transformers
    python3 tests/make_open_clip_reference.py

The one has timm's vision transformer with SigLIP's attention pool, a tokenizer, and towers that
differ in their GELU (as SigLIP 2's B/16 do); timm_model_name is a name of ours, so its sizes stand
beside it, which open_clip passes over. Its texts.jsonl holds the ids that open_clip's HFTokenizer
makes. The other has two plain towers, GELU by tanh and LayerNorm's epsilon 1e-6 in both. Everything
is seeded; outputs are computed in float64 from float32 weights.
"""
import copy
import json
import shutil
import sys

import make_reference as ref
import open_clip
import timm
import torch
from timm.models.vision_transformer import _create_vision_transformer

TEXTS = [
    "A photo of a cat.", "two_dogs, one  stick", "Don't &amp; won't", "", "  {red} door?!",
    "caf\u00e9 \u5728\u96ea\u5730\u4e2d", "a small robot paints a green door next to the harbour",
]
PLAIN = dict(layers=2, width=12, head_width=4, patch_size=4, mlp_ratio=2.0)
SIGLIP = dict(
    embed_dim=12, init_logit_bias=-10, custom_text=True,
    vision_cfg=dict(PLAIN, image_size=14, timm_model_name="vit_toy_patch4_siglip_14",
                    timm_model_pretrained=False, timm_pool="map", timm_proj="none"),
    text_cfg=dict(context_length=9, vocab_size=407, hf_tokenizer_name="toy",
                  tokenizer_kwargs=dict(clean="canonicalize"), width=8, heads=2, layers=2,
                  no_causal_mask=True, proj_bias=True, pool_type="last",
                  norm_kwargs=dict(eps=1e-6), act_kwargs=dict(approximate="tanh")),
)
CUSTOM_TEXT = dict(
    embed_dim=10, custom_text=True,
    vision_cfg=dict(PLAIN, image_size=12, norm_kwargs=dict(eps=1e-6),
                    act_kwargs=dict(approximate="tanh")),
    text_cfg=dict(context_length=7, vocab_size=50, width=8, heads=2, layers=1,
                  norm_kwargs=dict(eps=1e-6), act_kwargs=dict(approximate="tanh")),
)


@timm.models.register_model
def vit_toy_patch4_siglip_14(pretrained=False, **kwargs):
    sizes = dict(img_size=14, patch_size=4, embed_dim=12, depth=2, num_heads=3, mlp_ratio=2.0,
                 class_token=False, global_pool="map")
    return _create_vision_transformer("vit_toy_patch4_siglip_14", pretrained=pretrained,
                                      **dict(sizes, **kwargs))


def make(folder, seed, config, preprocess, ids):
    torch.manual_seed(seed)
    arguments = {k: v for k, v in config.items() if k != "custom_text"}
    model = open_clip.CustomTextCLIP(**arguments)
    for name, p in model.named_parameters():
        p.data += torch.randn(p.shape) * (0.05 if "logit" not in name else 0.5)
    ref.save_json(f"{folder}/open_clip_config.json",
                  dict(model_cfg=config, preprocess_cfg=preprocess))
    weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    ref.save(f"{folder}/open_clip_model.safetensors", weights)
    trained = {f"module.{name}": p for name, p in weights.items()}
    torch.save(dict(epoch=1, name="toy", state_dict=trained), ref.ROOT / folder / "epoch_1.pt")
    size = config["vision_cfg"]["image_size"]
    pixels = ref.randn(3, 3, size, size)
    exact = copy.deepcopy(model).double().eval()
    if exact.text.attn_mask is not None:
        exact.text.attn_mask = exact.text.attn_mask.double()
    with torch.no_grad():
        out = dict(pixel_values=pixels, input_ids=ids, image_features=exact.encode_image(pixels),
                   text_features=exact.encode_text(ids),
                   image_embeds=exact.encode_image(pixels, normalize=True),
                   text_embeds=exact.encode_text(ids, normalize=True))
        logits = exact.logit_scale.exp() * out["image_embeds"] @ out["text_embeds"].T
        bias = 0 if exact.logit_bias is None else exact.logit_bias
        out["logits_per_image"] = logits + bias
    ref.save(f"{folder}/expected.safetensors", out)


def make_tokenizer(folder):
    """The toy Unigram of make_unigram_reference.py, and what transformers needs to open it."""
    path = ref.ROOT / folder
    path.mkdir(parents=True, exist_ok=True)
    shutil.copy(ref.ROOT / "tokens" / "unigram_bytes.json", path / "tokenizer.json")
    ends = dict(pad_token="</s>", eos_token="</s>", unk_token="<unk>")
    ref.save_json(f"{folder}/tokenizer_config.json",
                  dict(tokenizer_class="PreTrainedTokenizerFast", **ends))
    tokenizer = open_clip.tokenizer.HFTokenizer(str(path), context_length=9, clean="canonicalize")
    ids = tokenizer(TEXTS)
    lines = [json.dumps(dict(text=text, ids=row.tolist())) for text, row in zip(TEXTS, ids)]
    (path / "texts.jsonl").write_text("\n".join(lines) + "\n", encoding="ascii")
    return ids


def main():
    halves = dict(mean=[0.5] * 3, std=[0.5] * 3, interpolation="bicubic", resize_mode="squash")
    make("siglip_openclip_tiny", 20, SIGLIP, halves, make_tokenizer("siglip_openclip_tiny"))
    ids, _ = ref.captions(4, 7, 50, torch.Generator().manual_seed(21))
    clips = dict(mean=ref.MEAN, std=ref.STD, interpolation="bicubic", resize_mode="shortest")
    make("custom_text_tiny", 21, CUSTOM_TEXT, clips, ids)


if __name__ == "__main__":
    sys.exit(main())
