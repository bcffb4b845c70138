#!/usr/bin/env python3
"""Makes tests/reference: a small set of reference numbers from PyTorch, open_clip and Pillow.

    python3 tests/make_reference.py [FOLDER]      (default: `reference` beside this script)

The files and tensor names are explained in tests/reference/README.md. Needs torch, open_clip_torch,
safetensors, numpy and Pillow; the product itself needs none of them. Everything is seeded: the same
versions give the same files. Single operations, losses and model outputs are computed in float64
from float32 inputs and rounded; the training run is float32, as people run it.
"""

import copy, json, math, pathlib, sys

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file

try:
    import torchvision  # noqa: F401
except (ImportError, RuntimeError):
    # torchvision without its compiled half: declare the operators that importing it expects
    _ops = torch.library.Library("torchvision", "DEF")
    for _name in ("nms", "qnms"):
        _ops.define(_name + "(Tensor a, Tensor b, float c) -> Tensor")
import open_clip

MEAN = [0.48145466, 0.4578275, 0.40821073]
STD = [0.26862954, 0.26130258, 0.27577711]
ROOT = pathlib.Path(
    sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "reference"
)

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)


def save(path, tensors):
    """float64 becomes float32, int64 becomes int32."""
    narrow = {torch.float64: torch.float32, torch.int64: torch.int32}
    stored = lambda v: v.detach().to(narrow.get(v.dtype, v.dtype)).contiguous().clone()
    out = {k: stored(v) for k, v in tensors.items()}
    (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
    save_file(out, ROOT / path, metadata={"format": "pt"})


def save_json(path, value):
    (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
    (ROOT / path).write_text(json.dumps(value, indent=1) + "\n")


def randn(*shape, scale=1.0):
    """float32 values in float64, so that the stored inputs are exactly those computed with."""
    return (torch.randn(*shape) * scale).float().double()


# ---- ops ----


def record(out, name, function, inputs, constants=None):
    """Output and gradients of `function(**inputs, **constants)` for a random upstream gradient."""
    leaves = {k: v.clone().requires_grad_() for k, v in inputs.items()}
    y = function(**leaves, **(constants or {}))
    dy = torch.ones((), dtype=torch.float64) if y.ndim == 0 else randn(*y.shape)
    y.backward(dy)
    for k, v in leaves.items():
        out[f"{name}.{k}"] = v
        out[f"{name}.d{k}"] = v.grad
    for k, v in (constants or {}).items():
        out[f"{name}.{k}"] = v
    out[f"{name}.y"], out[f"{name}.dy"] = y, dy


def make_basic():
    torch.manual_seed(1)
    out, d = {}, 21
    layernorm = lambda x, w, b: F.layer_norm(x, w.shape, w, b, 1e-5)
    wb = lambda: dict(w=1 + randn(d, scale=0.3), b=randn(d, scale=0.2))
    record(out, "layernorm", layernorm, dict(x=randn(5, d, scale=2), **wb()))
    record(out, "layernorm_offset", layernorm, dict(x=300 + randn(5, d), **wb()))
    record(out, "layernorm_constant", layernorm, dict(x=torch.full((2, d), 0.7).double(), **wb()))
    edges = torch.tensor([-30, -10, -5.5, -1e-6, 0, 5.5, 12, 30.0])
    for name, f in (("gelu", F.gelu), ("quickgelu", lambda x: x * torch.sigmoid(1.702 * x))):
        x = randn(3, 19, scale=4)
        x.view(-1)[:8] = edges
        record(out, name, f, dict(x=x))
    record(
        out,
        "linear",
        lambda x, w, b: F.linear(x, w, b),
        dict(x=randn(7, 9), w=randn(13, 9, scale=0.3), b=randn(13, scale=0.1)),
    )
    record(
        out,
        "embedding",
        lambda w, ids: F.embedding(ids.long(), w),
        dict(w=randn(11, 5)),
        dict(ids=torch.tensor([3, 10, 3, 0, 7, 7, 7, 1]).int()),
    )
    rows = randn(5, 7) * torch.tensor([1, 1e-6, 1e5, 1e-3, 0.5]).double()[:, None]
    record(out, "l2norm", lambda x: F.normalize(x, dim=-1), dict(x=rows.float().double()))
    patches = lambda image, w: F.conv2d(image, w, stride=w.shape[-1]).flatten(2).transpose(1, 2)
    record(
        out, "patch_embed", patches, dict(image=randn(3, 3, 6, 9), w=randn(5, 3, 3, 3, scale=0.2))
    )
    save("ops/basic.safetensors", out)


def attention(q, k, v, offsets, causal):
    """Each packed sequence on its own; q, k, v [total, heads, head width]."""
    out = []
    for a, b in zip(offsets[:-1], offsets[1:]):
        score = torch.einsum("ihd,jhd->hij", q[a:b], k[a:b]) / math.sqrt(q.shape[-1])
        if causal:
            score = score + torch.full((b - a, b - a), -math.inf).triu(1)
        out.append(torch.einsum("hij,jhd->ihd", score.softmax(-1), v[a:b]))
    return torch.cat(out)


def make_attention():
    torch.manual_seed(2)
    offsets = [0, 1, 7, 9, 17]
    out = dict(offsets=torch.tensor(offsets).int())
    shape = (offsets[-1], 2, 4)
    qkv = lambda scale: {n: randn(*shape, scale=scale if n != "v" else 1) for n in "qkv"}
    cases = ("attention", False, 1), ("attention_causal", True, 1), ("attention_large", True, 40)
    for name, causal, scale in cases:
        record(out, name, lambda q, k, v: attention(q, k, v, offsets, causal), qkv(scale))
    save("ops/attention.safetensors", out)


def make_block():
    torch.manual_seed(3)
    width, heads = 12, 4
    block = open_clip.transformer.ResidualAttentionBlock(width, heads, mlp_ratio=1.5).double()
    for p in block.parameters():
        p.data = p.data + randn(*p.shape, scale=0.1)
        p.data = p.data.float().double()
    out = {f"w.{n}": p for n, p in block.named_parameters()}
    mask = torch.full((5, 5), -math.inf).triu(1).double()
    for name, m in (("block", None), ("block_causal", mask)):
        block.zero_grad()
        x = randn(3, 5, width).requires_grad_()
        y = block(x, attn_mask=m)
        dy = randn(*y.shape)
        y.backward(dy)
        out |= {f"{name}.x": x, f"{name}.y": y, f"{name}.dy": dy, f"{name}.dx": x.grad}
        out |= {f"{name}.d.{n}": p.grad.clone() for n, p in block.named_parameters()}
    save("ops/block.safetensors", out)


def make_adamw():
    torch.manual_seed(4)
    p = torch.nn.Parameter(torch.randn(2, 9))
    out = dict(p0=p.detach().clone())
    grads = torch.stack([torch.randn(2, 9) * 10.0**-i for i in range(5)])
    adamw = torch.optim.AdamW([p], lr=3e-3, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.2)
    after = []
    for g in grads:
        p.grad = g.clone()
        adamw.step()
        after.append(p.detach().clone())
    save("ops/adamw.safetensors", out | dict(grads=grads, p=torch.stack(after)))


# ---- losses ----


def clip_loss(image, text, scale, ids=None):
    """Radford et al. 2021, figure 3; with ids, even targets over positives."""
    logits = scale.exp() * image @ text.T
    positive = torch.eye(len(image)) if ids is None else (ids[:, None] == ids[None, :])
    target = positive.double() / positive.double().sum(1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def siglip_loss(image, text, scale, bias):
    logits = scale.exp() * image @ text.T + bias
    sign = 2 * torch.eye(len(image)).double() - 1
    return -F.logsigmoid(sign * logits).sum() / len(image)


def record_loss(out, prefix, name, image, text, scale, loss, bias=None):
    leaves = [
        v.clone().requires_grad_()
        for v in (image, text, scale) + ((bias,) if bias is not None else ())
    ]
    value = loss(F.normalize(leaves[0], dim=-1), F.normalize(leaves[1], dim=-1), *leaves[2:])
    value.backward()
    out[f"{prefix}{name}.loss"] = value
    for key, leaf in zip(("d_image", "d_text", "d_logit_scale", "d_logit_bias"), leaves):
        out[f"{prefix}{name}.{key}"] = leaf.grad


def make_losses():
    scalar = lambda v: torch.tensor(v).float().double()
    for n, d in ((1, 3), (3, 7), (41, 6), (139, 4)):
        torch.manual_seed(100 + n)
        image, text = randn(n, d), randn(n, d)
        ids = torch.randint(0, max(1, n * 2 // 3), (n,)).int()
        scale, siglip_scale, bias = (
            scalar(math.log(100 if n == 41 else 14)),
            scalar(math.log(10)),
            scalar(-7.5),
        )
        out = {
            "image": image,
            "text": text,
            "logit_scale": scale,
            "siglip.logit_scale": siglip_scale,
            "siglip.logit_bias": bias,
            "ids": ids,
        }
        record_loss(out, "", "clip", image, text, scale, clip_loss)
        record_loss(out, "", "siglip", image, text, siglip_scale, siglip_loss, bias)
        record_loss(out, "", "multi", image, text, scale, lambda i, t, s: clip_loss(i, t, s, ids))
        save(f"losses/n{n}_d{d}.safetensors", out)
        if n == 3:  # these formulas are open_clip's own
            unit = [F.normalize(v, dim=-1) for v in (image, text)]
            assert torch.allclose(open_clip.ClipLoss()(*unit, scale.exp()), out["clip.loss"])
            assert torch.allclose(
                open_clip.loss.SigLipLoss()(*unit, siglip_scale.exp(), bias), out["siglip.loss"]
            )
    torch.manual_seed(200)
    out, hundred, bias = {}, scalar(math.log(100)), scalar(-10.0)
    image, text = randn(5, 6), randn(5, 6)
    twice = torch.tensor([0, 1, 0, 2, 0])
    cases = {
        "same": (image, image, hundred),
        "opposite": (image, -image, hundred),
        "all_equal": (image[:1].repeat(5, 1), image[:1].repeat(5, 1), hundred),
        "duplicates": (image[twice], text[twice.flip(0)], scalar(3.0)),
        "tiny_norm": ((image * 1e-6).float().double(), (text * 1e-5).float().double(), hundred),
        "huge_norm": ((image * 1e6).float().double(), (text * 1e7).float().double(), hundred),
    }
    for name, (i, t, s) in cases.items():
        out |= {f"{name}.image": i, f"{name}.text": t, f"{name}.logit_scale": s}
        record_loss(out, f"{name}.", "clip", i, t, s, clip_loss)
        record_loss(out, f"{name}.", "siglip", i, t, s, siglip_loss, bias)
    save("losses/extreme.safetensors", out)


def negclip_loss(image, text, scale, pairs, ids=None):
    """NegCLIP: texts past `pairs` are candidates of every image; only pairs look for an image."""
    logits = scale.exp() * image @ text.T
    positive = torch.eye(pairs) if ids is None else (ids[:, None] == ids[None, :])
    target = positive.double() / positive.double().sum(1, keepdim=True)
    wide = F.pad(target, (0, len(text) - pairs))
    columns = logits[:, :pairs].T
    return (F.cross_entropy(logits, wide) + F.cross_entropy(columns, target)) / 2


def siglip_negatives_loss(image, text, scale, bias):
    logits = scale.exp() * image @ text.T + bias
    sign = 2 * torch.eye(len(image), len(text)).double() - 1
    return -F.logsigmoid(sign * logits).sum() / len(image)


def distill_loss(image, text, scale, teacher_image, teacher_text, teacher_scale):
    """Kullback-Leibler divergence of the student's rows and columns from the teacher's."""
    student = scale.exp() * image @ text.T
    teacher = teacher_scale * teacher_image @ teacher_text.T
    side = lambda s, t: F.kl_div(
        s.log_softmax(1), t.log_softmax(1), reduction="batchmean", log_target=True
    )
    return (side(student, teacher) + side(student.T, teacher.T)) / 2


def make_finetuning_losses():
    torch.manual_seed(300)
    scalar = lambda v: torch.tensor(v).float().double()
    n, m, d = 37, 61, 6
    image, text, scale, bias = randn(n, d), randn(m, d), scalar(math.log(14)), scalar(-6.5)
    ids = torch.randint(0, 25, (n,)).int()
    out = dict(image=image, text=text, logit_scale=scale, logit_bias=bias, ids=ids)
    record_loss(out, "", "clip", image, text, scale, lambda i, t, s: negclip_loss(i, t, s, n))
    record_loss(out, "", "multi", image, text, scale, lambda i, t, s: negclip_loss(i, t, s, n, ids))
    record_loss(out, "", "siglip", image, text, scale, siglip_negatives_loss, bias)
    save("losses/hard_negatives.safetensors", out)
    text = randn(n, d)
    teacher_image, teacher_text = (F.normalize(randn(n, 9), dim=-1).float() for _ in range(2))
    out = dict(image=image, text=text, logit_scale=scale, teacher_image=teacher_image)
    out |= dict(teacher_text=teacher_text, teacher_scale=scalar(20.0))
    teacher = teacher_image.double(), teacher_text.double(), 20.0
    record_loss(out, "", "distill", image, text, scale, lambda *l: distill_loss(*l, *teacher))
    save("losses/distill.safetensors", out)


# ---- models ----


def make_model(config):
    """open_clip's own initialisation, then all moved a little: no bias is zero, no gain one."""
    quick = config.get("quick_gelu", False)
    model = open_clip.CLIP(
        config["embed_dim"], config["vision_cfg"], config["text_cfg"], quick_gelu=quick
    )
    for name, p in model.named_parameters():
        if name != "logit_scale":
            p.data += torch.randn(p.shape) * 0.05
    return model


def captions(n, context, vocab, generator):
    """Start, words, end (the largest id), then zeros; the last caption fills the context."""
    ids, lengths = torch.zeros(n, context, dtype=torch.int64), []
    for i in range(n):
        length = (
            context if i == n - 1 else int(torch.randint(2, context + 1, (), generator=generator))
        )
        ids[i, 0], ids[i, length - 1] = vocab - 2, vocab - 1
        if length > 2:
            ids[i, 1 : length - 1] = torch.randint(1, vocab - 2, (length - 2,), generator=generator)
        lengths.append(length)
    return ids, torch.tensor(lengths)


def make_openclip(folder, seed, config, n_images, n_texts):
    torch.manual_seed(seed)
    model = make_model(config)
    pre = dict(mean=MEAN, std=STD, interpolation="bicubic", resize_mode="shortest")
    save_json(f"{folder}/open_clip_config.json", dict(model_cfg=config, preprocess_cfg=pre))
    save(f"{folder}/open_clip_model.safetensors", dict(model.named_parameters()))
    vision, text = config["vision_cfg"], config["text_cfg"]
    size = vision["image_size"]
    pixels = randn(n_images, 3, size, size)
    ids, lengths = captions(
        n_texts, text["context_length"], text["vocab_size"], torch.default_generator
    )
    exact = copy.deepcopy(model).double().eval()
    if exact.attn_mask is not None:
        exact.attn_mask = exact.attn_mask.double()
    with torch.no_grad():
        out = dict(
            pixel_values=pixels,
            input_ids=ids,
            lengths=lengths,
            image_features=exact.encode_image(pixels),
            text_features=exact.encode_text(ids),
            image_embeds=exact.encode_image(pixels, normalize=True),
            text_embeds=exact.encode_text(ids, normalize=True),
        )
        out["logits_per_image"] = (
            exact.logit_scale.exp() * out["image_embeds"] @ out["text_embeds"].T
        )
    save(f"{folder}/expected.safetensors", out)
    make_inside(folder, exact, pixels, ids, seed)
    return exact


def make_inside(folder, model, pixels, ids, seed):
    """States behind the last and the last but one block for whole rows (what stands behind the end
    token is random), before and after the last norm; the gradient of the paired cosines."""
    generator = torch.Generator().manual_seed(seed)
    n = min(len(pixels), len(ids))
    pixels, ids = pixels[:n].clone().requires_grad_(), ids[:n].clone()
    for row in ids:
        end = int(row.argmax())
        behind = len(row) - end - 1
        row[end + 1 :] = torch.randint(0, int(row.max()), (behind,), generator=generator)
    states = {"": [], "vision_": []}
    keep = lambda name: lambda module, given, made: states[name].append((given[0], made))
    towers = {"": model.transformer, "vision_": model.visual.transformer}
    for name, tower in towers.items():
        for block in tower.resblocks:
            block.register_forward_hook(keep(name))
    image, text = model.encode_image(pixels, True), model.encode_text(ids, True)
    (image * text).sum().backward()
    norms = {"": model.ln_final, "vision_": model.visual.ln_post}
    out = dict(pixel_values=pixels, input_ids=ids, pixel_grad=pixels.grad)
    for name, seen in states.items():
        for layer, state in (("last", seen[-1][1]), ("penultimate", seen[-1][0])):
            out[f"{name}hidden_states.{layer}"] = state
            out[f"{name}hidden_states_ln.{layer}"] = norms[name](state)
    save(f"{folder}/inside.safetensors", out)


def make_zeroshot(model, config):
    torch.manual_seed(20)
    text, size = config["text_cfg"], config["vision_cfg"]["image_size"]
    classes, templates, images = 7, 2, 9
    ids, _ = captions(
        classes * templates, text["context_length"], text["vocab_size"], torch.default_generator
    )
    pixels = randn(images, 3, size, size)
    labels = torch.randint(0, classes - 1, (images,))
    with torch.no_grad():
        embeds = model.encode_text(ids, normalize=True).view(classes, templates, -1)
        classifier = F.normalize(embeds.mean(1), dim=-1)
        logits = 100 * model.encode_image(pixels, normalize=True) @ classifier.T
    half = torch.randperm(images)[: images // 2]
    labels[half] = logits[half].argmax(1)  # so that something is right
    labels[labels == classes - 1] = 0  # the last class has no image
    top = logits.topk(6, dim=1)
    save(
        "zeroshot/zeroshot.safetensors",
        dict(
            prompt_ids=ids.view(classes, templates, -1),
            pixel_values=pixels,
            labels=labels,
            classifier=classifier,
            logits=logits,
            predictions=top.indices[:, 0],
            top5=top.indices[:, :5],
        ),
    )
    right = (top.indices[:, 0] == labels).double()
    recall = {str(int(c)): right[labels == c].mean().item() for c in labels.unique()}
    gaps = (top.values[:, :-1] - top.values[:, 1:]).min().item()
    assert gaps > 1e-3, gaps
    save_json(
        "zeroshot/zeroshot.json",
        dict(
            acc1=right.mean().item(),
            acc5=(top.indices[:, :5] == labels[:, None]).any(1).double().mean().item(),
            mean_per_class_recall=sum(recall.values()) / len(recall),
            per_class_recall=recall,
            smallest_gap=gaps,
        ),
    )


def best_ranks(scores, positive, ties):
    """Rank from 1 of a row's best positive; ties for it, against it, or by lower index."""
    out = []
    for s, p in zip(scores, positive):
        best = s[p].max()
        first = int(((s == best) & p).nonzero()[0])
        equal = {
            "best": 0,
            "worst": int(((s == best) & ~p).sum()),
            "lower_index_first": int(((s == best) & ~p)[:first].sum()),
        }[ties]
        out.append(1 + int((s > best).sum()) + equal)
    return torch.tensor(out)


def retrieval_metrics(name, ranks):
    r = ranks.double()
    out = {f"{name}_recall@{k}": (r <= k).double().mean().item() for k in (1, 5, 10)}
    out[f"{name}_mean_rank"], out[f"{name}_median_rank"] = r.mean().item(), float(
        np.median(r.numpy())
    )
    out[f"{name}_median_rank_open_clip"] = float(np.floor(np.median(r.numpy() - 1)) + 1)
    return out


def make_retrieval():
    torch.manual_seed(21)
    owner = torch.arange(15).repeat_interleave(3)
    image = F.normalize(randn(15, 8), dim=-1).float().double()
    text = F.normalize(image[owner] + randn(45, 8, scale=0.5), dim=-1).float().double()
    scores, positive = text @ image.T, owner[:, None] == torch.arange(15)[None, :]
    ranks = dict(
        image_retrieval=best_ranks(scores, positive, "best"),
        text_retrieval=best_ranks(scores.T, positive.T, "best"),
    )
    save(
        "zeroshot/retrieval_random.safetensors",
        dict(image_embeds=image, text_embeds=text, text_image=owner)
        | {f"{k}.rank": v for k, v in ranks.items()},
    )
    report = dict(
        random=dict(
            all={k: v for n, r in ranks.items() for k, v in retrieval_metrics(n, r).items()}
        ),
        ties={},
    )
    owner = torch.arange(6).repeat_interleave(2)
    image = torch.randint(-1, 2, (6, 3)).double()
    text = torch.randint(-1, 2, (12, 3)).double()
    scores, positive = text @ image.T, owner[:, None] == torch.arange(6)[None, :]
    out = dict(image_embeds=image, text_embeds=text, text_image=owner)
    for ties in ("best", "worst", "lower_index_first"):
        both = dict(
            image_retrieval=best_ranks(scores, positive, ties),
            text_retrieval=best_ranks(scores.T, positive.T, ties),
        )
        out |= {f"{k}.rank.{ties}": v for k, v in both.items()}
        report["ties"][ties] = {
            k: v for n, r in both.items() for k, v in retrieval_metrics(n, r).items()
        }
    save("zeroshot/retrieval_ties.safetensors", out)
    save_json("zeroshot/retrieval.json", report)


# ---- training ----

TRAIN_MODEL = dict(
    embed_dim=10,
    vision_cfg=dict(image_size=12, layers=1, width=16, head_width=8, patch_size=4, mlp_ratio=1.5),
    text_cfg=dict(context_length=9, vocab_size=60, width=12, heads=3, layers=1, mlp_ratio=2.0),
)
RUN = dict(
    steps=30,
    batch_size=10,
    lr=1e-3,
    warmup=4,
    total_steps=30,
    schedule="cosine",
    betas=[0.9, 0.98],
    eps=1e-6,
    weight_decay=0.2,
    grad_clip_norm=1.0,
    logit_scale_range=[0, math.log(100)],
    mean=MEAN,
    std=STD,
    no_decay="parameters with fewer than 2 dimensions, or with 'bn', 'ln', 'bias' or 'logit_scale' "
    "in their name",
)


def train(model, pixels, ids, batches, total_steps, clip_norm, keep=()):
    """open_clip's training step: AdamW in two groups, warm-up and cosine, clipping, clamp."""
    plain = lambda n, p: p.ndim < 2 or "bn" in n or "ln" in n or "bias" in n or "logit_scale" in n
    named = list(model.named_parameters())
    groups = [
        dict(params=[p for n, p in named if plain(n, p)], weight_decay=0.0),
        dict(params=[p for n, p in named if not plain(n, p)], weight_decay=RUN["weight_decay"]),
    ]
    adamw = torch.optim.AdamW(groups, lr=RUN["lr"], betas=RUN["betas"], eps=RUN["eps"])
    log, kept, loss_of = (
        {k: [] for k in ("loss", "grad_norm", "lr", "logit_scale")},
        {},
        open_clip.ClipLoss(),
    )
    for step, rows in enumerate(batches):
        warm = RUN["warmup"]
        lr = RUN["lr"] * (
            (step + 1) / warm
            if step < warm
            else (1 + math.cos(math.pi * (step - warm) / (total_steps - warm))) / 2
        )
        for group in adamw.param_groups:
            group["lr"] = lr
        adamw.zero_grad()
        loss = loss_of(*model(pixels[rows], ids[rows]))
        loss.backward()
        if step == 0:
            kept["grad"] = {n: p.grad.clone() for n, p in named}
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        adamw.step()
        with torch.no_grad():
            model.logit_scale.clamp_(*RUN["logit_scale_range"])
        for key, value in zip(log, (loss.item(), norm.item(), lr, model.logit_scale.item())):
            log[key].append(value)
        if step + 1 in keep:
            kept[step + 1] = {n: p.detach().clone() for n, p in named}
    return {k: torch.tensor(v) for k, v in log.items()}, kept


def make_training():
    torch.manual_seed(30)
    init = make_model(TRAIN_MODEL).train()
    config = dict(model_cfg=TRAIN_MODEL, **RUN)
    pairs, batch = 60, RUN["batch_size"]
    size, text = TRAIN_MODEL["vision_cfg"]["image_size"], TRAIN_MODEL["text_cfg"]
    images = torch.randint(0, 256, (pairs, 3, size, size), dtype=torch.uint8)
    ids, _ = captions(pairs, text["context_length"], text["vocab_size"], torch.default_generator)
    order = torch.stack([torch.randperm(pairs)[:batch] for _ in range(RUN["steps"])])
    pixels = (images.float() / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(
        3, 1, 1
    )
    save_json("training/config.json", config)
    save("training/data.safetensors", dict(images=images, input_ids=ids, order=order))
    save("training/init.safetensors", dict(init.named_parameters()))
    log, kept = train(copy.deepcopy(init), pixels, ids, order, RUN["total_steps"], 1.0, (1, 10, 30))
    exact = copy.deepcopy(init).double()
    exact.attn_mask = exact.attn_mask.double()
    log64, _ = train(exact, pixels.double(), ids, order, RUN["total_steps"], 1.0)
    save(
        "training/steps.safetensors",
        log | {f"{k}.float64": log64[k] for k in ("loss", "grad_norm")},
    )
    print(
        "training: loss of float32 against float64",
        (log["loss"] - log64["loss"]).abs().max().item(),
    )
    save("training/grad_step0.safetensors", kept["grad"])
    for n in (1, 10, 30):
        save(f"training/after_{n:02d}.safetensors", kept[n])
    some = (
        "logit_scale",
        "text_projection",
        "visual.proj",
        "ln_final.weight",
        "visual.ln_pre.bias",
    )
    wide, after = train(copy.deepcopy(init), pixels, ids, order[:6].reshape(3, -1), 15, 1.0, (3,))
    save("training/accum2_steps.safetensors", {f"wide.{k}": v for k, v in wide.items()})
    save("training/wide_after_03.safetensors", {k: after[3][k] for k in some})
    out = {}
    for name, start in (("high", 5.0), ("low", -0.05)):
        model = copy.deepcopy(init)
        model.logit_scale.data.fill_(start)
        clamped, _ = train(model, pixels, ids, order[:4], RUN["total_steps"], 1.0)
        out |= {f"{name}.start": torch.tensor(start)}
        out |= {f"{name}.{k}": clamped[k] for k in ("loss", "grad_norm", "logit_scale")}
    save("training/clamp.safetensors", out)
    limit = log["grad_norm"][:8].median()
    mixed, after = train(
        copy.deepcopy(init), pixels, ids, order[:8], RUN["total_steps"], float(limit), (8,)
    )
    save(
        "training/clip_mixed.safetensors",
        dict(clip_norm=limit) | mixed | {f"after_08.{k}": after[8][k] for k in some},
    )


LORA = dict(rank=2, alpha=4, steps=6)


def lora_paths(model):
    """Weight name, name of the path, rows of each part that has one: query and value of in_proj."""
    for name, weight in model.named_parameters():
        if "resblocks" not in name or weight.ndim < 2:
            continue
        layer = name.removesuffix("_weight").removesuffix(".weight")
        part = len(weight) // 3
        parts = [(0, part), (2 * part, 3 * part)] if "in_proj" in name else [(0, len(weight))]
        yield name, layer, parts


def make_lora():
    """LoRA over the model of training/: float64, the paths alone are trained."""
    torch.manual_seed(30)
    model = make_model(TRAIN_MODEL).double()
    model.attn_mask = model.attn_mask.double()
    data = load_file(ROOT / "training/data.safetensors")
    pixels = (data["images"].float() / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(
        STD
    ).view(3, 1, 1)
    torch.manual_seed(31)
    base = {n: p.detach() for n, p in model.named_parameters()}
    paths, r = {}, LORA["rank"]
    for name, layer, parts in lora_paths(model):
        rows, width = sum(b - a for a, b in parts), base[name].shape[1]
        paths[f"{layer}.lora_A.weight"] = randn(len(parts) * r, width, scale=width**-0.5)
        paths[f"{layer}.lora_B.weight"] = torch.zeros(rows, r).double()
    out = {f"start.{k}": v.clone() for k, v in paths.items() if "lora_A" in k}
    for path in paths.values():
        path.requires_grad_()

    def merged():
        weights = dict(base)
        for name, layer, parts in lora_paths(model):
            a, b = paths[f"{layer}.lora_A.weight"], paths[f"{layer}.lora_B.weight"]
            change, done = torch.zeros_like(base[name]), 0
            for k, (first, last) in enumerate(parts):
                n = last - first
                part = b[done : done + n] @ a[k * r : (k + 1) * r]
                change = torch.cat([change[:first], part, change[last:]])
                done += n
            weights[name] = base[name] + LORA["alpha"] / r * change
        return weights

    adamw = torch.optim.AdamW(
        paths.values(),
        lr=RUN["lr"],
        betas=RUN["betas"],
        eps=RUN["eps"],
        weight_decay=RUN["weight_decay"],
    )
    log = {k: [] for k in ("loss", "grad_norm")}
    for step in range(LORA["steps"]):
        warm, total = RUN["warmup"], RUN["total_steps"]
        for group in adamw.param_groups:
            group["lr"] = RUN["lr"] * (
                (step + 1) / warm
                if step < warm
                else (1 + math.cos(math.pi * (step - warm) / (total - warm))) / 2
            )
        adamw.zero_grad()
        rows = data["order"][step].long()
        inputs = (pixels[rows].double(), data["input_ids"][rows].long())
        loss = open_clip.ClipLoss()(*torch.func.functional_call(model, merged(), inputs))
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(list(paths.values()), RUN["grad_clip_norm"])
        adamw.step()
        log["loss"].append(loss.item())
        log["grad_norm"].append(norm.item())
    out |= {k: torch.tensor(v) for k, v in log.items()}
    out |= {f"after.{k}": v for k, v in paths.items()}
    save("training/lora.safetensors", out)


# ---- preprocess ----


def drawn(width, height, seed):
    """Smooth colours with a sharp rectangle: what resizing gets wrong shows on edges."""
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack(
        [
            127 + 120 * np.sin(x / 5 + seed),
            127 + 120 * np.cos(y / 7 + seed),
            (x * 9 + y * 5 + 40 * seed) % 256,
        ],
        -1,
    )
    rgb[height // 4 : height // 2, width // 3 : width // 3 * 2] = [255, 0, 250]
    return Image.fromarray(rgb.clip(0, 255).astype(np.uint8))


def shortest(image, size, method):
    """torchvision's Resize to the shortest side, then CenterCrop."""
    w, h = image.size
    if min(w, h) != size:
        w, h = (size, int(size * h / w)) if w <= h else (int(size * w / h), size)
        image = image.resize((w, h), method)
    left, top = int(round((w - size) / 2)), int(round((h - size) / 2))
    return image.crop((left, top, left + size, top + size))


def make_encoded(out, size, width, height):
    """What libjpeg-turbo and libwebp decode: of each kind an image."""
    rgb, rgba = drawn(width, height, 5), drawn(width, height, 6)
    rgba.putalpha(Image.linear_gradient("L").resize(rgba.size))
    turned = Image.Exif()
    turned[0x112] = 6
    kinds = dict(
        jpeg420=("jpg", rgb, dict(subsampling=2)),
        jpeg422=("jpg", rgb, dict(subsampling=1)),
        jpeg444=("jpg", rgb, dict(subsampling=0)),
        jpeg_gray=("jpg", rgb.convert("L"), {}),
        jpeg_cmyk=("jpg", rgb.convert("CMYK"), {}),
        jpeg_progressive=("jpg", rgb, dict(progressive=True)),
        jpeg_exif6=("jpg", rgb, dict(exif=turned)),
        webp=("webp", rgb, {}),
        webp_alpha=("webp", rgba, {}),
        webp_lossless=("webp", rgba, dict(lossless=True)),
        webp_exif6=("webp", rgb, dict(exif=turned)),
        webp_animated=("webp", rgba, dict(save_all=True, append_images=[rgb.convert("RGBA")])),
    )
    for stem, (suffix, image, options) in kinds.items():
        name = f"{stem}_{width}x{height}.{suffix}"
        image.save(ROOT / "preprocess/images" / name, quality=80, **options)
        decoded = Image.open(ROOT / "preprocess/images" / name).convert("RGB")
        small = decoded
        if "exif" in options:
            small = decoded.transpose(Image.Transpose.ROTATE_270)
        out[f"{name}/decoded"] = torch.from_numpy(np.array(decoded))
        kind = "upright" if "exif" in options else "bicubic"
        out[f"{name}/{kind}{size}"] = torch.from_numpy(
            np.array(shortest(small, size, Image.BICUBIC))
        )


IMAGES = dict(
    rgb_41x23="RGB", rgb_12x29="RGB", gray_30x22="L", palette_37x19="P", rgba_21x24="RGBA"
)


def make_preprocess(size=12, cases=IMAGES, encoded=(45, 37)):
    out = {}
    bytes_of = lambda image: torch.from_numpy(np.array(image))
    (ROOT / "preprocess/images").mkdir(parents=True, exist_ok=True)
    for seed, (stem, mode) in enumerate(cases.items()):
        width, height = map(int, stem.split("_")[1].split("x"))
        image, name = drawn(width, height, seed), stem + ".png"
        if mode == "P":
            image = image.quantize(50)
        elif mode == "RGBA":
            image.putalpha(Image.linear_gradient("L").resize(image.size))
        else:
            image = image.convert(mode)
        image.save(ROOT / "preprocess/images" / name)
        rgb = Image.open(ROOT / "preprocess/images" / name).convert("RGB")
        out[f"{name}/decoded"] = bytes_of(rgb)
        out[f"{name}/bicubic{size}"] = small = bytes_of(shortest(rgb, size, Image.BICUBIC))
        out[f"{name}/bilinear{size}"] = bytes_of(shortest(rgb, size, Image.BILINEAR))
        out[f"{name}/squash{size}"] = bytes_of(rgb.resize((size, size), Image.BICUBIC))
        if seed > 0:
            continue
        f32 = (small.float() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
        out[f"{name}/bicubic{size}.f32"] = f32.permute(2, 0, 1)
    make_encoded(out, size, *encoded)
    save("preprocess/expected.safetensors", out)
    out, rng = {}, np.random.default_rng(7)
    for i, (w, h, c, to_w, to_h) in enumerate(
        ((9, 6, 3, 4, 5), (5, 8, 3, 13, 17), (53, 31, 1, 20, 31), (1, 1, 3, 4, 4), (2, 70, 3, 6, 6))
    ):
        source = rng.integers(0, 256, (h, w, c), dtype=np.uint8)
        image = Image.fromarray(source if c == 3 else source[..., 0])
        out[f"r{i}.src"] = torch.from_numpy(source)
        for name, method in (("bicubic", Image.BICUBIC), ("bilinear", Image.BILINEAR)):
            out[f"r{i}.{name}"] = bytes_of(image.resize((to_w, to_h), method)).reshape(
                to_h, to_w, c
            )
    save("preprocess/resize.safetensors", out)


def main():
    make_basic()
    make_attention()
    make_block()
    make_adamw()
    make_losses()
    make_finetuning_losses()
    tiny = dict(
        embed_dim=8,
        vision_cfg=dict(
            image_size=12, layers=2, width=12, head_width=4, patch_size=4, mlp_ratio=2.0
        ),
        text_cfg=dict(context_length=7, vocab_size=50, width=10, heads=2, layers=2),
    )
    make_zeroshot(make_openclip("openclip_tiny", 10, tiny, 3, 4), tiny)
    quick = dict(
        embed_dim=6,
        vision_cfg=dict(
            image_size=10, layers=1, width=8, head_width=8, patch_size=5, mlp_ratio=3.0
        ),
        text_cfg=dict(context_length=6, vocab_size=40, width=8, heads=2, layers=1),
        quick_gelu=True,
    )
    make_openclip("openclip_quickgelu_tiny", 11, quick, 2, 3)
    make_retrieval()
    make_training()
    make_lora()
    make_preprocess()
    print("total bytes:", sum(f.stat().st_size for f in ROOT.rglob("*") if f.is_file()))


if __name__ == "__main__":
    main()
