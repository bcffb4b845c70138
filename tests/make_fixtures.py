#!/usr/bin/env python3
"""Makes a set of reference values of the large set's layout, whose sizes, activations, special ids
and inputs are drawn: what tests must not take for granted.

    python3 tests/make_fixtures.py FOLDER [SEED]
    CLIP_FIXTURES=FOLDER make test-fixtures

Models of transformers (hf_tiny, hf_tiny_sharded, siglip_tiny), of open_clip (openclip_tiny with a
training checkpoint, openclip_quickgelu_tiny) and of OpenAI's kind (openai_jit_tiny), tokens of
CLIP's vocabulary, images, a training run; the rest is tests/make_reference.py's. Needs torch,
transformers, open_clip_torch, safetensors, numpy and Pillow. The set is not kept."""
import json
import pathlib
import random
import sys

FOLDER = pathlib.Path(sys.argv[1])
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else 1

import make_reference as ref  # noqa: E402  (reads the folder from the command line)
import open_clip  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

draw = random.Random(SEED)


def sizes(layers):
    """Width, heads and hidden width of a tower."""
    heads, head = draw.randint(1, 5), draw.choice((4, 6, 8, 10, 14))
    width = heads * head
    return dict(width=width, heads=heads, mlp=draw.randint(width // 2, 4 * width + 3),
                layers=draw.randint(1, layers))


def image(multiple=True):
    """Patch and image size; only a SigLIP's need not fit."""
    patch, grid = draw.randint(3, 9), draw.randint(1, 5)
    return patch, patch * grid + (0 if multiple else draw.randint(0, patch - 1))


# ---- transformers ----


def tower(size, activation, eps):
    return dict(hidden_size=size["width"], num_attention_heads=size["heads"],
                intermediate_size=size["mlp"], num_hidden_layers=size["layers"],
                hidden_act=activation, layer_norm_eps=eps)


def clip_config():
    activation, eps = draw.choice(("quick_gelu", "gelu")), draw.choice((1e-5, 1e-6))
    vocab, context = draw.randint(60, 900), draw.randint(5, 26)
    start, end, pad = draw.sample(range(3, vocab - 1), 3)  # anywhere, not the largest ids
    if draw.random() < 0.3:
        end = 2  # as the early uploads say it: the largest id ends a text
    patch, image = image()
    text = dict(tower(sizes(3), activation, eps), vocab_size=vocab, bos_token_id=start,
                eos_token_id=end, pad_token_id=pad, max_position_embeddings=context)
    vision = dict(tower(sizes(4), activation, eps), image_size=image, patch_size=patch)
    return transformers.CLIPConfig(projection_dim=draw.randint(5, 50), text_config=text,
                                   vision_config=vision)


def clip_ids(rows, text):
    """Start, words, end; behind it ends, zeros or random ids in turn."""
    vocab, context, start = text.vocab_size, text.max_position_embeddings, text.bos_token_id
    end = vocab - 1 if text.eos_token_id == 2 else text.eos_token_id
    ids, lengths = torch.zeros(rows, context, dtype=torch.int64), []
    for i in range(rows):
        n = draw.randint(2, context)
        words = [draw.choice([w for w in range(vocab - 1) if w not in (end, 2)])
                 for _ in range(n - 2)]
        behind = [(end, 0, draw.randint(0, vocab - 2))[i % 3] for _ in range(context - n)]
        ids[i] = torch.tensor([start, *words, end, *behind])
        lengths.append(n)
    return ids, torch.tensor(lengths)


def stirred(model):
    """No bias zero, no gain one."""
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "logit" not in name:
                value.add_(torch.randn_like(value) * 0.06)
    return model.eval()


def clip_outputs(model, pixels, ids):
    out = model(pixel_values=pixels, input_ids=ids, output_hidden_states=True)
    text, vision = out.text_model_output, out.vision_model_output
    towers = model.text_model(input_ids=ids), model.vision_model(pixel_values=pixels)
    norm = model.text_model.final_layer_norm
    return dict(
        image_features=vision.pooler_output, text_features=text.pooler_output,  # projected
        image_embeds=out.image_embeds, text_embeds=out.text_embeds,
        logits_per_image=out.logits_per_image,
        text_last_hidden_state=text.last_hidden_state, text_pooled=towers[0].pooler_output,
        text_penultimate=text.hidden_states[-2],
        text_penultimate_ln=norm(text.hidden_states[-2]),
        vision_last_hidden_state=vision.last_hidden_state,
        vision_pooled=towers[1].pooler_output)


def make_huggingface():
    torch.manual_seed(SEED)
    config = clip_config()
    model, folder = stirred(transformers.CLIPModel(config)), FOLDER / "hf_tiny"
    model.save_pretrained(folder)
    size = config.vision_config.image_size
    mean, std = ([round(draw.uniform(0.2, 0.6), 3) for _ in range(3)] for _ in range(2))
    transformers.CLIPImageProcessor(
        size={"shortest_edge": size}, crop_size={"height": size, "width": size}, image_mean=mean,
        image_std=std).save_pretrained(folder)
    pixels = ref.randn(draw.randint(1, 4), 3, size, size)
    ids, lengths = clip_ids(draw.randint(2, 7), config.text_config)
    inputs = dict(pixel_values=pixels, input_ids=ids, lengths=lengths)
    wide = transformers.CLIPModel.from_pretrained(folder).double().eval()
    ref.save("hf_tiny/expected.safetensors", inputs | clip_outputs(wide, pixels, ids))
    half = {}
    for name, dtype in (("fp16", torch.float16), ("bf16", torch.bfloat16)):
        rounded = {k: v.to(dtype).contiguous() for k, v in model.state_dict().items()}
        save_file(rounded, folder / f"model.{name}.safetensors", metadata={"format": "pt"})
        wide.load_state_dict({k: v.double() for k, v in rounded.items()})
        out = clip_outputs(wide, pixels, ids)
        half |= {f"{name}.{k}": out[k] for k in ("image_embeds", "text_embeds",
                                                 "logits_per_image")}
    ref.save("hf_tiny/expected_half.safetensors", half)
    model.half().save_pretrained(FOLDER / "hf_tiny_sharded",
                                 max_shard_size=f"{draw.randint(30, 200)}KB")


def make_siglip():
    torch.manual_seed(SEED + 1)
    activation, eps = draw.choice(("gelu_pytorch_tanh", "gelu")), draw.choice((1e-6, 1e-5))
    patch, image = image(multiple=False)
    vision, text = sizes(3), sizes(3)
    vocab, context = draw.randint(40, 400), draw.randint(3, 20)
    config = transformers.SiglipConfig(
        text_config=dict(tower(text, activation, eps), vocab_size=vocab,
                         max_position_embeddings=context, projection_size=vision["width"],
                         bos_token_id=vocab - 2, eos_token_id=vocab - 1,
                         pad_token_id=draw.randint(0, 5)),
        vision_config=dict(tower(vision, activation, eps), image_size=image, patch_size=patch))
    model = stirred(transformers.SiglipModel(config))
    with torch.no_grad():
        model.logit_scale.fill_(draw.uniform(1, 3))
        model.logit_bias.fill_(draw.uniform(-9, -2))
    model.save_pretrained(FOLDER / "siglip_tiny")
    pixels, ids = ref.randn(3, 3, image, image), torch.randint(0, vocab, (4, context))
    wide = transformers.SiglipModel.from_pretrained(FOLDER / "siglip_tiny").double().eval()
    out = wide(pixel_values=pixels, input_ids=ids)
    text, vision = out.text_model_output, out.vision_model_output
    ref.save("siglip_tiny/expected.safetensors", dict(
        pixel_values=pixels, input_ids=ids, image_features=vision.pooler_output,
        text_features=text.pooler_output, image_embeds=out.image_embeds,
        text_embeds=out.text_embeds, logits_per_image=out.logits_per_image,
        vision_last_hidden_state=vision.last_hidden_state,
        text_last_hidden_state=text.last_hidden_state))


# ---- open_clip and OpenAI ----


def open_clip_config(quick_gelu):
    patch, image = image()
    vision, text = sizes(3), sizes(3)
    return dict(
        embed_dim=draw.randint(4, 40),
        vision_cfg=dict(image_size=image, layers=vision["layers"], width=vision["width"],
                        head_width=vision["width"] // vision["heads"], patch_size=patch,
                        mlp_ratio=draw.choice((1.5, 2.0, 3.0, 4.0))),
        text_cfg=dict(context_length=draw.randint(4, 20), vocab_size=draw.randint(30, 400),
                      width=text["width"], heads=text["heads"], layers=text["layers"]),
        **(dict(quick_gelu=True) if quick_gelu else {}))


def make_training_checkpoint(model):
    """What open_clip's trainer writes: names behind "module.", and the optimizer's state."""
    named = [(f"module.{n}", p) for n, p in model.float().named_parameters()]
    adamw = torch.optim.AdamW([p for _, p in named], lr=1e-3)
    state = {n: p.detach().clone() for n, p in named}
    for _, p in named:
        p.grad = torch.randn_like(p)
    adamw.step()
    folder = FOLDER / "openclip_tiny"
    torch.save({k.removeprefix("module."): v for k, v in state.items()},
               folder / "open_clip_pytorch_model.bin")
    torch.save(dict(epoch=draw.randint(2, 40), name="drawn", state_dict=state,
                    optimizer=adamw.state_dict()), folder / "epoch_1.pt")


def nested(tensors):
    """Modules nested as the dotted names say."""
    root = torch.nn.Module()
    for name, value in tensors.items():
        *path, last = name.split(".")
        at = root
        for part in path:
            if not hasattr(at, part):
                at.add_module(part, torch.nn.Module())
            at = getattr(at, part)
        if value.is_floating_point():
            setattr(at, last, torch.nn.Parameter(value, requires_grad=False))
        else:
            at.register_buffer(last, value)
    return root


def make_openai():
    """Heads of 64, QuickGELU, matrices in half precision; no file says so."""
    torch.manual_seed(SEED + 2)
    patch, image = image()
    config = dict(embed_dim=draw.randint(8, 40), quick_gelu=True,
                  vision_cfg=dict(image_size=image, layers=draw.randint(1, 2),
                                  width=64 * draw.randint(1, 3), patch_size=patch),
                  text_cfg=dict(context_length=draw.randint(5, 16),
                                vocab_size=draw.randint(50, 200), width=64 * draw.randint(1, 2),
                                layers=draw.randint(1, 2)))
    text = config["text_cfg"]
    text["heads"] = text["width"] // 64
    model = ref.make_model(config).eval()
    halves = ("conv1", "in_proj", "out_proj", "c_fc", "c_proj", "text_projection", "visual.proj")
    tensors = {n: p.detach().half() if any(h in n for h in halves) else p.detach()
               for n, p in model.named_parameters()}
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(tensors[name].float())
    tensors |= dict(input_resolution=torch.tensor(image),
                    context_length=torch.tensor(text["context_length"]),
                    vocab_size=torch.tensor(text["vocab_size"]))
    folder = FOLDER / "openai_jit_tiny"
    folder.mkdir(parents=True, exist_ok=True)
    torch.jit.script(nested(tensors)).save(str(folder / "model.pt"))
    names = {n: [str(v.dtype).removeprefix("torch."), list(v.shape)] for n, v in tensors.items()}
    (folder / "names.json").write_text(json.dumps(names))
    pixels = ref.randn(3, 3, image, image)
    ids, lengths = ref.captions(4, text["context_length"], text["vocab_size"],
                                torch.default_generator)
    exact = model.double()
    exact.attn_mask = exact.attn_mask.double()
    image_features, text_features = exact.encode_image(pixels), exact.encode_text(ids)
    unit = [torch.nn.functional.normalize(v, dim=-1) for v in (image_features, text_features)]
    kept = {f"weight.{n}": tensors[n] for n in ("logit_scale", "visual.class_embedding",
                                                "text_projection")}
    ref.save("openai_jit_tiny/expected.safetensors", dict(
        pixel_values=pixels, input_ids=ids, lengths=lengths, image_features=image_features,
        text_features=text_features, image_embeds=unit[0], text_embeds=unit[1],
        logits_per_image=exact.logit_scale.exp() * unit[0] @ unit[1].T) | kept)


# ---- tokens ----

WORDS = ["A", "photo", "of", "the", "DOG's", "na\u00efve", "caf\u00e9", "cafe\u0301",
         "\u72d7\u3002", "12", "3.5", "...", "we'll", "don't", "(red)",
         "\u0441\u043e\u0431\u0430\u043a\u0430", "\U0001f600", "antidisestablishmentarianism",
         "x" * 30, "<|endoftext|>", "#1", "a-b_c",
         "\u00df", "\u0939\u093f\u0928\u094d\u0926\u0940", "\u5728\u96ea\u5730\u4e2d", "\n",
         "\t", " "]


def make_tokens():
    """Ids of transformers' pipeline and of open_clip; ftfy changes nothing in these words."""
    from make_token_reference import hugging_face
    simple = open_clip.tokenizer.SimpleTokenizer()
    other = hugging_face(simple)
    start, end = simple.sot_token_id, simple.eot_token_id
    lines, cuts = [], []
    for i in range(300):
        text = draw.choice((" ", "  ", "")).join(draw.choices(WORDS, k=draw.randint(0, 14)))
        ids = [start] + other.encode(text, add_special_tokens=False).ids + [end]
        theirs = [start] + simple.encode(text) + [end]
        line = dict(text=text, ids=ids, kind="drawn")
        lines.append(line | (dict(open_clip_ids=theirs) if theirs != ids else {}))
        if i % 10 == 0:
            n = draw.randint(3, 40)
            padded = (ids if len(ids) <= n else ids[:n - 1] + [end])
            cuts.append(dict(text=text, context_length=n, hf=padded + [end] * (n - len(padded)),
                             open_clip=simple(text, context_length=n)[0].tolist()))
    for name, rows in (("clip_tokens", lines), ("truncation", cuts)):
        path = FOLDER / "tokens" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="ascii")


# ---- all ----


def make_images():
    side = lambda: draw.randint(3, 150)
    kinds = ("RGB", "RGB", "L", "P", "RGBA")
    cases = {f"{kind.lower()}{i}_{side()}x{side()}": kind for i, kind in enumerate(kinds)}
    ref.make_preprocess(draw.randint(5, 70), cases, (side(), side()))


def make_run():
    config = open_clip_config(False)
    while min(config["vision_cfg"]["width"], config["text_cfg"]["width"]) < 8:
        config = open_clip_config(False)  # (LayerNorm over 4 numbers is no matter of float32)
    config["text_cfg"]["mlp_ratio"] = draw.choice((2.0, 3.0, 4.0))
    ref.TRAIN_MODEL = config
    ref.RUN = dict(ref.RUN, batch_size=draw.randint(4, 9), warmup=draw.randint(2, 6),
                   lr=draw.choice((5e-4, 1e-3)))
    ref.make_training()
    ref.make_lora()


def main():
    ref.ROOT = FOLDER
    for make in (ref.make_basic, ref.make_attention, ref.make_block, ref.make_adamw,
                 ref.make_losses, ref.make_finetuning_losses, ref.make_retrieval):
        make()
    with torch.no_grad():
        make_huggingface()
        make_siglip()
        make_openai()
    config = open_clip_config(False)
    model = ref.make_openclip("openclip_tiny", SEED + 3, config, draw.randint(2, 5),
                              draw.randint(2, 5))
    ref.make_zeroshot(model, config)
    make_training_checkpoint(model)
    ref.make_openclip("openclip_quickgelu_tiny", SEED + 4, open_clip_config(True), 2, 3)
    make_tokens()
    make_images()
    make_run()
    print(f"{FOLDER}: seed {SEED}")


if __name__ == "__main__":
    main()
