#!/usr/bin/env python3
"""Writes tests/reference/towers: small towers of kinds that a CLIP does not have, and what PyTorch's
own layers make of them: post-norm blocks and LayerNorm over the embeddings as BERT has them, texts
without a causal mask, first rows, means and attention as pools, projections with and without bias.

    pip install torch==2.13.0 safetensors numpy
    python3 tests/make_tower_reference.py [FOLDER]      (default: `reference` beside this script)

Each file holds, in its metadata as "config", the description that clip.c reads (docs/checkpoints.md),
and as tensors `w.NAME`, every parameter of the tower by its name there; the inputs, `input_ids`
(packed: text after text, without padding) with `offsets`, or `pixel_values`; `states`, the rows behind
the blocks; `features`; `d_features`, a gradient of these, and `d.NAME`, what it makes of each
parameter and of pixel_values. Everything is seeded, computed in float64 from float32 numbers, and
rounded."""

import json
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

ROOT = pathlib.Path(
    sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "reference"
)
ACTIVATIONS = dict(
    gelu=F.gelu,
    quick_gelu=lambda x: x * torch.sigmoid(1.702 * x),
    gelu_tanh=lambda x: F.gelu(x, approximate="tanh"),
)
SIZES = dict(layers=2, width=16, mlp_ratio=2.0)
VISION = dict(SIZES, image_size=12, patch_size=4, head_width=8)
TEXT = dict(SIZES, context_length=9, vocab_size=40, heads=2)
LENGTHS = (9, 2, 5, 1)  # of the packed texts
IMAGES = 3

# What CLIP's towers are, and what a case has otherwise.
CLIP_VISION = dict(
    activation="gelu", norm_eps=1e-5, post_norm=False, embed_norm=True, final_norm=True,
    pooling="first", projection="matrix", class_row=True, patch_bias=False,
)  # fmt: skip
CLIP_TEXT = dict(
    activation="gelu", norm_eps=1e-5, post_norm=False, causal=True, embed_norm=False,
    final_norm=True, pooling="end", projection="matrix",
)  # fmt: skip
BERT = dict(norm_eps=1e-12, post_norm=True, causal=False, embed_norm=True, final_norm=False)
TEXTS = dict(
    text_bert_first=dict(BERT, pooling="first", projection="linear"),
    text_bert_mean=dict(BERT, pooling="mean", projection="none"),
    text_bert_mean_matrix=dict(BERT, pooling="mean", activation="gelu_tanh"),
    text_mean=dict(causal=False, pooling="mean", activation="quick_gelu", norm_eps=1e-3),
    text_attention=dict(causal=False, pooling="attention", projection="linear"),
    text_causal_post_norm=dict(post_norm=True, final_norm=False),
)
VISIONS = dict(
    vision_mean=dict(
        class_row=False, patch_bias=True, embed_norm=False, pooling="mean", projection="linear"
    ),
    vision_first=dict(embed_norm=False, projection="none", norm_eps=1e-6),
    vision_post_norm=dict(
        post_norm=True, final_norm=False, patch_bias=True, uneven=True, activation="gelu_tanh"
    ),
    vision_class_mean=dict(pooling="mean", post_norm=True),
)


class Pool(nn.Module):
    """SigLIP's attention pool, of PyTorch's layers."""

    def __init__(self, width, heads, hidden, act, eps):
        super().__init__()
        self.probe = nn.Parameter(torch.empty(1, width))
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm = nn.LayerNorm(width, eps=eps)
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.act = act

    def forward(self, x, ignored):
        probe = self.probe.expand(len(x), 1, -1)
        x = self.attention(probe, x, x, key_padding_mask=ignored, need_weights=False)[0][:, 0]
        return x + self.fc2(self.act(self.fc1(self.norm(x))))

    def named(self):
        a, width = self.attention, self.probe.shape[1]
        w, b = a.in_proj_weight, a.in_proj_bias
        yield "probe", self.probe
        yield from (("q.weight", w, 0, width), ("q.bias", b, 0, width))
        yield from (("kv.weight", w, width, None), ("kv.bias", b, width, None))
        for name, module in (
            ("proj", a.out_proj), ("norm", self.norm), ("mlp.fc1", self.fc1), ("mlp.fc2", self.fc2)
        ):  # fmt: skip
            yield from ((f"{name}.weight", module.weight), (f"{name}.bias", module.bias))


class Tower(nn.Module):
    """Rows [B,T,W], some of which are padding, to features [B,E]."""

    def __init__(self, c, heads, embed_dim):
        super().__init__()
        self.c, width = c, c["width"]
        hidden, eps, act = int(width * c["mlp_ratio"]), c["norm_eps"], ACTIVATIONS[c["activation"]]
        layer = nn.TransformerEncoderLayer(
            width, heads, hidden, 0.0, act, eps, batch_first=True, norm_first=not c["post_norm"]
        )
        self.blocks = nn.TransformerEncoder(layer, c["layers"], enable_nested_tensor=False)
        self.embed_norm = nn.LayerNorm(width, eps=eps) if c["embed_norm"] else nn.Identity()
        self.final_norm = nn.LayerNorm(width, eps=eps) if c["final_norm"] else nn.Identity()
        self.pool = Pool(width, heads, hidden, act, eps) if c["pooling"] == "attention" else None
        self.linear = nn.Linear(width, embed_dim) if c["projection"] == "linear" else None
        self.matrix = None
        if c["projection"] == "matrix":
            self.matrix = nn.Parameter(torch.empty(width, embed_dim))

    def forward(self, x, lengths):
        """The rows behind the blocks, and the features."""
        total = x.shape[1]
        ignored = torch.arange(total)[None, :] >= lengths[:, None]
        mask = None
        if self.c.get("causal"):
            mask = torch.ones(total, total, dtype=torch.bool).triu(1)
        states = self.blocks(self.embed_norm(x), mask=mask, src_key_padding_mask=ignored)
        y = self.final_norm(states)
        if self.c["pooling"] == "first":
            y = y[:, 0]
        elif self.c["pooling"] == "end":
            y = y[torch.arange(len(y)), lengths - 1]
        elif self.c["pooling"] == "mean":
            y = torch.stack([row[:n].mean(0) for row, n in zip(y, lengths)])
        else:
            y = self.pool(y, ignored)
        if self.linear is not None:
            y = self.linear(y)
        if self.matrix is not None:
            y = y @ self.matrix
        return states, y

    def named(self, prefix, final, projection):
        """Our name, the parameter, and which of its rows have that name where not all do."""
        for i, layer in enumerate(self.blocks.layers):
            at = f"{prefix}transformer.resblocks.{i}."
            yield at + "attn.in_proj_weight", layer.self_attn.in_proj_weight
            yield at + "attn.in_proj_bias", layer.self_attn.in_proj_bias
            for name, module in (
                ("ln_1", layer.norm1), ("ln_2", layer.norm2), ("mlp.c_fc", layer.linear1),
                ("mlp.c_proj", layer.linear2), ("attn.out_proj", layer.self_attn.out_proj),
            ):  # fmt: skip
                yield from ((f"{at}{name}.weight", module.weight), (f"{at}{name}.bias", module.bias))
        for name, module in (("ln_pre", self.embed_norm), (final, self.final_norm)):
            if isinstance(module, nn.LayerNorm):
                yield f"{prefix}{name}.weight", module.weight
                yield f"{prefix}{name}.bias", module.bias
        for name, *rest in self.pool.named() if self.pool is not None else ():
            yield f"{prefix}attn_pool.{name}", *rest
        if self.linear is not None:
            yield f"{prefix}{projection}.weight", self.linear.weight
            yield f"{prefix}{projection}.bias", self.linear.bias
        if self.matrix is not None:
            yield f"{prefix}{projection}", self.matrix


class Text(nn.Module):
    def __init__(self, c, embed_dim):
        super().__init__()
        self.tokens = nn.Embedding(c["vocab_size"], c["width"])
        self.positions = nn.Parameter(torch.empty(c["context_length"], c["width"]))
        self.tower = Tower(c, c["heads"], embed_dim)

    def forward(self, texts):
        lengths = torch.tensor([len(t) for t in texts])
        ids = nn.utils.rnn.pad_sequence(texts, batch_first=True)
        states, y = self.tower(self.tokens(ids) + self.positions[: ids.shape[1]], lengths)
        return torch.cat([row[:n] for row, n in zip(states, lengths)]), y

    def named(self):
        yield "token_embedding.weight", self.tokens.weight
        yield "positional_embedding", self.positions
        yield from self.tower.named("", "ln_final", "text_projection")


class Vision(nn.Module):
    def __init__(self, c, embed_dim):
        super().__init__()
        width, p = c["width"], c["patch_size"]
        self.conv = nn.Conv2d(3, width, p, p, bias=c["patch_bias"])
        self.row = nn.Parameter(torch.empty(width)) if c["class_row"] else None
        rows = (c["image_size"] // p) ** 2 + c["class_row"]
        self.positions = nn.Parameter(torch.empty(rows, width))
        self.tower = Tower(c, width // c["head_width"], embed_dim)

    def forward(self, pixels):
        x = self.conv(pixels).flatten(2).transpose(1, 2)
        if self.row is not None:
            x = torch.cat([self.row.expand(len(x), 1, -1), x], 1)
        states, y = self.tower(x + self.positions, torch.full((len(x),), x.shape[1]))
        return states.flatten(0, 1), y

    def named(self):
        yield "visual.conv1.weight", self.conv.weight
        if self.conv.bias is not None:
            yield "visual.conv1.bias", self.conv.bias
        if self.row is not None:
            yield "visual.class_embedding", self.row
        yield "visual.positional_embedding", self.positions
        yield from self.tower.named("visual.", "ln_post", "proj")


def values(model):
    """Each parameter under our name, with its gradient, as we shape them."""
    for name, parameter, *rows in model.named():
        cut = slice(*rows) if rows else slice(None)
        both = [t[cut] for t in (parameter.detach(), parameter.grad)]
        if name == "visual.conv1.bias":
            both = [t[None] for t in both]
        yield name, *both


def fill(model):
    """Random values, those of LayerNorm's gains around 1; float32 numbers in float64."""
    gains = {id(m.weight) for m in model.modules() if isinstance(m, nn.LayerNorm)}
    for parameter in model.parameters():
        scale = 0.3 if parameter.ndim > 1 else 0.2
        noise = (torch.randn(parameter.shape) * scale).float().double()
        parameter.data = noise + 1 if id(parameter) in gains else noise
    model.double()


def write(name, config, model, inputs, stored):
    states, features = model(*inputs)
    upstream = torch.randn(features.shape).float().double()
    features.backward(upstream)
    out = dict(stored, states=states, features=features, d_features=upstream)
    if inputs[0] is stored.get("pixel_values"):
        out["d.pixel_values"] = inputs[0].grad
    for ours, value, grad in values(model):
        out |= {f"w.{ours}": value, f"d.{ours}": grad}
    narrow = {torch.float64: torch.float32, torch.int64: torch.int32}
    out = {k: v.detach().to(narrow[v.dtype]).contiguous().clone() for k, v in out.items()}
    (ROOT / "towers").mkdir(parents=True, exist_ok=True)
    text = json.dumps({"model_cfg": config}, separators=(",", ":"))
    save_file(out, ROOT / "towers" / f"{name}.safetensors", metadata={"config": text})
    print(f"{name}: features {tuple(features.shape)}, {len(out)} tensors")


def make_text(seed, name, kind):
    torch.manual_seed(seed)
    embed_dim = TEXT["width"] if kind.get("projection") == "none" else 10
    model = Text(CLIP_TEXT | TEXT | kind, embed_dim)
    fill(model)
    texts = [torch.randint(0, TEXT["vocab_size"], (n,)) for n in LENGTHS]
    offsets = torch.tensor([0, *torch.tensor(LENGTHS).cumsum(0)])
    config = dict(embed_dim=embed_dim, vision_cfg=VISION, text_cfg=TEXT | kind)
    write(name, config, model, (texts,), dict(input_ids=torch.cat(texts), offsets=offsets))


def make_vision(seed, name, kind):
    torch.manual_seed(seed)
    embed_dim = VISION["width"] if kind.get("projection") == "none" else 10
    sizes = VISION | (dict(image_size=14) if kind.get("uneven") else {})
    model = Vision(CLIP_VISION | sizes | kind, embed_dim)
    fill(model)
    pixels = torch.randn(IMAGES, 3, sizes["image_size"], sizes["image_size"]).float().double()
    pixels.requires_grad_()
    config = dict(embed_dim=embed_dim, vision_cfg=sizes | kind, text_cfg=TEXT)
    write(name, config, model, (pixels,), dict(pixel_values=pixels))


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for seed, (name, kind) in enumerate(TEXTS.items()):
        make_text(100 + seed, name, kind)
    for seed, (name, kind) in enumerate(VISIONS.items()):
        make_vision(200 + seed, name, kind)


if __name__ == "__main__":
    main()
