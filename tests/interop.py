#!/usr/bin/env python3
"""The other side of clip_export, with the real libraries: what we write is opened by transformers,
open_clip, onnxruntime, gguf and h5py, and gives our numbers; and a run's events, read by
TensorBoard. Run by `make interop`.

    python3 tests/interop.py [--build BUILD] [NAME...]

A library that is not there skips its checks, visibly. The models are random, of odd sizes, and made
here. Ends with "N passed, N failed, N skipped"."""
import argparse
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import traceback

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

CAPTIONS = [
    "a photo of a cat", "two dogs in the snow", "the the there then", "A  Red circle, isn't it?",
    "na\u00efve caf\u00e9 \u2014 \u4e2d\u6587 12", "a" * 90, "", "don't we'll they're 's",
]


class Skip(Exception):
    pass


def need(*names):
    """The modules, or a skip."""
    try:
        load_torchvision()
        return [importlib.import_module(name) for name in names]
    except ImportError as error:
        raise Skip(f"{error}") from error


def load_torchvision():
    """A torchvision built for CUDA beside a CPU torch lacks two operators that nothing here calls,
    and cannot be imported before they are declared."""
    import torch
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, "
                                 "float iou_threshold) -> Tensor")
        importlib.import_module("torchvision")


class Ours:
    """Our programs, a folder to work in, and the models that the checks share."""

    def __init__(self, build, folder):
        self.build, self.folder = build, folder

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def run(self, program, *arguments, text=None):
        command = [os.path.join(self.build, program), *map(str, arguments)]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def tokenizer(self):
        path = self.path("merges.txt")
        if not os.path.exists(path):
            with open(self.path("captions.txt"), "w", encoding="utf-8") as file:
                file.write("\n".join(caption for caption in CAPTIONS * 3 if caption) + "\n")
            self.run("clip_data", "tokenizer", "train", "--input", self.path("captions.txt"),
                     "--vocab-size", 560, "--output", path)
        return path

    def ids(self, tokenizer, context):
        """Rows of our token ids, padded with 0."""
        import numpy
        lines = self.run("clip_data", "tokenize", "--tokenizer", tokenizer,
                         text="\n".join(CAPTIONS) + "\n").splitlines()
        rows = [json.loads(line) for line in lines]
        assert len(rows) == len(CAPTIONS)
        out = numpy.zeros((len(rows), context), dtype="i4")
        for i, row in enumerate(rows):
            if len(row) > context:
                row = row[:context - 1] + row[-1:]
            out[i, :len(row)] = row
        return out

    def embed(self, model, pixels, ids):
        """Our outputs for these inputs."""
        from safetensors.numpy import load_file, save_file
        save_file({"pixel_values": pixels, "input_ids": ids}, self.path("in.safetensors"))
        self.run("clip_embed", "--model", model, "--tensors", self.path("in.safetensors"),
                 "--output", self.path("out.safetensors"), "--quiet")
        return load_file(self.path("out.safetensors"))

    def export(self, model, form, dtype="f32"):
        self.count = getattr(self, "count", 0) + 1
        path = self.path(f"export{self.count}")
        if form in ("onnx", "gguf", "safetensors"):
            path += "." + form
        self.run("clip_export", "--model", model, "--format", form, "--output", path, "--dtype",
                 dtype, "--tokenizer", self.tokenizer())
        return path


def model_of(ours, quick_gelu=False, logit_bias=False):
    """A random model of open_clip's kind as a .safetensors with its description beside, and our
    outputs on random inputs: (path, config, inputs, outputs)."""
    import numpy
    from safetensors.numpy import save_file
    name = f"model{int(quick_gelu)}{int(logit_bias)}"
    config = {"model_cfg": {
        "embed_dim": 40, "quick_gelu": quick_gelu,
        "vision_cfg": {"image_size": 48, "layers": 3, "width": 60, "head_width": 12,
                       "patch_size": 12, "mlp_ratio": 2.5},
        "text_cfg": {"context_length": 20, "vocab_size": 600, "width": 48, "heads": 3, "layers": 2,
                     "mlp_ratio": 4.0}},
        "preprocess_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3],
                           "interpolation": "bicubic", "resize_mode": "shortest"}}
    if logit_bias:
        config["model_cfg"]["init_logit_bias"] = -10
    folder = ours.path(name)
    path = os.path.join(folder, "open_clip_model.safetensors")
    draw = numpy.random.default_rng(7)
    pixels = draw.standard_normal((3, 3, 48, 48)).astype("f4")
    ids = ours.ids(ours.tokenizer(), 20)
    if not os.path.exists(path):
        os.makedirs(folder)
        with open(os.path.join(folder, "open_clip_config.json"), "w", encoding="utf-8") as file:
            json.dump(config, file)
        save_file(random_weights(draw, config["model_cfg"], logit_bias), path)
    return path, config, pixels, ids, ours.embed(path, pixels, ids)


def random_weights(draw, config, logit_bias):
    def normal(*shape):
        return (draw.standard_normal(shape) * 0.1).astype("f4")

    def block(weights, prefix, width, hidden):
        for norm in ("ln_1", "ln_2"):
            weights[f"{prefix}{norm}.weight"] = 1 + normal(width)
            weights[f"{prefix}{norm}.bias"] = normal(width)
        for name, rows, columns in (("attn.in_proj_", 3 * width, width),
                                    ("attn.out_proj.", width, width),
                                    ("mlp.c_fc.", hidden, width), ("mlp.c_proj.", width, hidden)):
            weights[f"{prefix}{name}weight"] = normal(rows, columns)
            weights[f"{prefix}{name}bias"] = normal(rows)

    vision, text, dim = config["vision_cfg"], config["text_cfg"], config["embed_dim"]
    width, patch = vision["width"], vision["patch_size"]
    weights = {
        "visual.class_embedding": normal(width),
        "visual.positional_embedding": normal((vision["image_size"] // patch) ** 2 + 1, width),
        "visual.proj": normal(width, dim), "visual.conv1.weight": normal(width, 3, patch, patch),
        "positional_embedding": normal(text["context_length"], text["width"]),
        "text_projection": normal(text["width"], dim),
        "token_embedding.weight": normal(text["vocab_size"], text["width"]),
        "logit_scale": normal()[()] + 2,
    }
    if logit_bias:
        weights["logit_bias"] = normal()[()] - 3
    for norm, size in (("visual.ln_pre", width), ("visual.ln_post", width),
                       ("ln_final", text["width"])):
        weights[f"{norm}.weight"], weights[f"{norm}.bias"] = 1 + normal(size), normal(size)
    for i in range(vision["layers"]):
        block(weights, f"visual.transformer.resblocks.{i}.", width,
              int(width * vision["mlp_ratio"]))
    for i in range(text["layers"]):
        block(weights, f"transformer.resblocks.{i}.", text["width"],
              int(text["width"] * text["mlp_ratio"]))
    import numpy
    return {name: numpy.asarray(value, dtype="f4") for name, value in weights.items()}


def close(name, got, expected, tolerance):
    import numpy
    got, expected = numpy.asarray(got, dtype="f8"), numpy.asarray(expected, dtype="f8")
    assert got.shape == expected.shape, f"{name}: {got.shape} instead of {expected.shape}"
    distance = abs(got - expected).max() / max(1.0, abs(expected).max())
    assert distance <= tolerance, f"{name}: {distance:.2e} away, {tolerance:.0e} allowed"


def cosine(name, got, expected):
    import numpy
    got, expected = numpy.asarray(got, dtype="f8"), numpy.asarray(expected, dtype="f8")
    worst = ((got * expected).sum(1) / numpy.linalg.norm(got, axis=1)
             / numpy.linalg.norm(expected, axis=1)).min()
    assert worst >= 0.9999, f"{name}: cosine {worst}"


# ---- the checks ----

def check_open_clip(ours):
    torch, open_clip = need("torch", "open_clip")
    for quick_gelu, logit_bias, dtype in ((False, False, "f32"), (True, True, "f32"),
                                          (False, False, "f16"), (False, False, "bf16")):
        path, config, pixels, ids, expected = model_of(ours, quick_gelu, logit_bias)
        folder = ours.export(path, "open_clip", dtype)
        model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
        tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
        mean = preprocess.transforms[-1].mean
        assert list(mean) == config["preprocess_cfg"]["mean"], mean
        rows = tokenizer(CAPTIONS).numpy()
        for row, own in zip(rows, ids):  # up to the end token; padding is each one's own
            n = own.argmax() + 1
            assert (row[:n] == own[:n]).all() and row.argmax() == n - 1, (row, own)
        with torch.no_grad():
            image = model.encode_image(torch.tensor(pixels), normalize=True)
            text = model.encode_text(torch.tensor(rows), normalize=True)
            logits, _ = model.get_logits(torch.tensor(pixels), torch.tensor(rows))
        if dtype == "f32":
            close("image_embeds", image, expected["image_embeds"], 2e-6)
            close("text_embeds", text, expected["text_embeds"], 2e-6)
            close("logits_per_image", logits, expected["logits_per_image"], 2e-5)
        else:
            cosine("image_embeds", image, expected["image_embeds"])
            cosine("text_embeds", text, expected["text_embeds"])


def check_huggingface(ours):
    torch, transformers, numpy = need("torch", "transformers", "numpy")
    for quick_gelu, dtype in ((False, "f32"), (True, "f32"), (False, "f16"), (False, "bf16")):
        path, config, pixels, ids, expected = model_of(ours, quick_gelu)
        folder = ours.export(path, "huggingface", dtype)
        model = transformers.CLIPModel.from_pretrained(folder).eval()
        assert model.dtype == {"f32": torch.float32, "f16": torch.float16,
                               "bf16": torch.bfloat16}[dtype], model.dtype
        model = model.float()
        processor = transformers.CLIPProcessor.from_pretrained(folder)
        assert type(processor.tokenizer).__name__.startswith("CLIPTokenizer")
        rows = processor(text=CAPTIONS, padding="max_length", truncation=True,
                         return_tensors="np")["input_ids"]
        assert rows.shape == ids.shape, rows.shape
        for row, own in zip(rows, ids):
            n = own.argmax() + 1
            assert (row[:n] == own[:n]).all() and (row[n:] == own[n - 1]).all(), (row, own)
        images = processor.image_processor
        assert images.size == {"shortest_edge": 48} and list(images.image_mean) == config[
            "preprocess_cfg"]["mean"] and images.crop_size == {"height": 48, "width": 48}, images
        with torch.no_grad():
            got = model(input_ids=torch.tensor(rows), pixel_values=torch.tensor(pixels))
        names = ("image_embeds", "text_embeds", "logits_per_image")
        for name in names:
            value = getattr(got, name)
            if dtype == "f32":
                close(name, value, expected[name], 2e-5 if name[0] == "l" else 2e-6)
            elif name[0] != "l":
                cosine(name, value, expected[name])
        # images: the same pixels as ours where the two crops agree, an even rest
        image = numpy.random.default_rng(3).integers(0, 256, (60, 82, 3), dtype="u1")
        same_image(ours, path, images, image)
        tokenizers, = need("tokenizers")
        fast = tokenizers.Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
        for caption, own in zip(CAPTIONS[:5], ids):
            assert fast.encode(caption).ids == list(own[:own.argmax() + 1]), caption


def same_image(ours, model, processor, image):
    import numpy
    from PIL import Image
    Image.fromarray(image).save(ours.path("image.png"))
    pixels = processor(Image.fromarray(image), return_tensors="np")["pixel_values"]
    from safetensors.numpy import load_file
    ours.run("clip_embed", "--model", model, "--images", ours.path("image.png"), "--output",
             ours.path("a.safetensors"), "--quiet")
    by_file = load_file(ours.path("a.safetensors"))["image_embeds"]
    ids = numpy.array([[557, 559]], dtype="i4")
    close("an image's pixels", ours.embed(model, pixels.astype("f4"), ids)["image_embeds"],
          by_file, 2e-3)  # (torchvision resizes in its own way: some pixels are off by one)


def check_gguf(ours):
    gguf, numpy = need("gguf", "numpy")
    from safetensors.numpy import load_file
    for quick_gelu, dtype in ((False, "f32"), (True, "f16"), (False, "bf16")):
        path, config, pixels, ids, expected = model_of(ours, quick_gelu)
        file = ours.export(path, "gguf", dtype)
        reader = gguf.GGUFReader(file)
        sizes = config["model_cfg"]
        for key, value in {
                "general.architecture": "clip", "clip.has_text_encoder": True,
                "clip.has_vision_encoder": True, "clip.use_gelu": not quick_gelu,
                "clip.text.context_length": 20, "clip.text.embedding_length": 48,
                "clip.text.feed_forward_length": 192, "clip.text.attention.head_count": 3,
                "clip.text.block_count": 2, "clip.text.projection_dim": sizes["embed_dim"],
                "clip.vision.image_size": 48, "clip.vision.patch_size": 12,
                "clip.vision.embedding_length": 60, "clip.vision.feed_forward_length": 150,
                "clip.vision.attention.head_count": 5, "clip.vision.block_count": 3,
                "general.file_type": {"f32": 0, "f16": 1, "bf16": 32}[dtype]}.items():
            got = reader.get_field(key).contents()
            assert got == value, f"{key}: {got} instead of {value}"
        assert numpy.allclose(reader.get_field("clip.vision.image_mean").contents(),
                              config["preprocess_cfg"]["mean"])
        assert len(reader.get_field("tokenizer.ggml.tokens").contents()) <= sizes[
            "text_cfg"]["vocab_size"]
        tensors = {tensor.name: tensor for tensor in reader.tensors}
        # clip.cpp knows a model by the number of its tensors: 16 a block, 13 beside them
        assert len(tensors) == 16 * 5 + 13, len(tensors)
        weights = load_file(path)
        width = 48
        q = tensors["t.blk.1.attn_q.weight"]
        assert list(q.shape) == [width, width]
        want = weights["transformer.resblocks.1.attn.in_proj_weight"][:width]
        if dtype != "bf16":
            got = q.data.astype("f4").reshape(width, width)
            assert (got == want.astype(q.data.dtype).astype("f4")).all()
        conv = tensors["v.patch_embd.weight"]
        assert list(conv.shape) == [12, 12, 3, 60], conv.shape
        assert tensors["v.class_embd"].tensor_type == gguf.GGMLQuantizationType.F32
        # and we read it ourselves
        got = ours.embed(file, pixels, ids)
        (close if dtype == "f32" else lambda *a: cosine(*a[:3]))(
            "image_embeds", got["image_embeds"], expected["image_embeds"], 0)


def check_safetensors(ours):
    torch, safetensors, h5py = need("torch", "safetensors.torch", "h5py")
    path, _, _, _, _ = model_of(ours)
    ours_file = safetensors.load_file(ours.export(path, "safetensors"))
    for name, value in safetensors.load_file(path).items():
        assert torch.equal(value, ours_file[name]), name
    native = ours.export(path, "hdf5")
    with h5py.File(native, "r") as file:
        for name, value in ours_file.items():
            assert (file["model"][name][()] == value.numpy()).all(), name
        assert json.loads(file["config"][()])["model_cfg"]["embed_dim"] == 40


def check_onnx(ours):
    numpy, onnx, onnxruntime = need("numpy", "onnx", "onnxruntime")
    for quick_gelu, logit_bias, dtype in ((False, False, "f32"), (True, True, "f32"),
                                          (False, False, "f16"), (False, False, "bf16")):
        path, _, pixels, ids, expected = model_of(ours, quick_gelu, logit_bias)
        file = ours.export(path, "onnx", dtype)
        onnx.checker.check_model(onnx.load(file), full_check=True)
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        assert [value.name for value in session.get_inputs()] == ["input_ids", "pixel_values"]
        names = [value.name for value in session.get_outputs()]
        assert names == ["logits_per_image", "logits_per_text", "text_embeds", "image_embeds"]
        assert "</w>" in session.get_modelmeta().custom_metadata_map["tokenizer"]
        length = int(ids.argmax(1).max()) + 1  # a shorter row is the same text
        for tokens in (ids, ids[:, :length], ids[1:2]):
            feeds = {"input_ids": tokens.astype("i8"), "pixel_values": pixels}
            got = dict(zip(names, session.run(None, feeds)))
            rows = slice(1, 2) if len(tokens) == 1 else slice(None)
            if dtype == "f32":
                close("text_embeds", got["text_embeds"], expected["text_embeds"][rows], 2e-6)
                close("image_embeds", got["image_embeds"], expected["image_embeds"], 2e-6)
                close("logits", got["logits_per_image"], expected["logits_per_image"][:, rows],
                      2e-5)
            else:
                cosine("text_embeds", got["text_embeds"], expected["text_embeds"][rows])
                cosine("image_embeds", got["image_embeds"], expected["image_embeds"])
            assert (got["logits_per_text"] == got["logits_per_image"].T).all()
        weights = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(file).graph.initializer}
        from safetensors.numpy import load_file
        for name, value in load_file(path).items():
            assert weights[name].shape == value.shape, name
            assert dtype != "f32" or (weights[name] == value).all(), name
        feeds["pixel_values"] = numpy.zeros((1, 3, 48, 48), "f4")
        assert session.run(["image_embeds"], feeds)[0].shape == (1, 40)


def check_onnx_split(ours):
    """Each tower as a graph of its own gives the rows that we compute."""
    numpy, onnx, onnxruntime = need("numpy", "onnx", "onnxruntime")
    path, _, pixels, ids, expected = model_of(ours)
    folder = ours.path("split")
    ours.run("clip_export", "--model", path, "--format", "onnx", "--split", "--output", folder,
             "--tokenizer", ours.tokenizer())
    for name, feeds, output in (("vision_model", {"pixel_values": pixels}, "image_embeds"),
                                ("text_model", {"input_ids": ids.astype("i8")}, "text_embeds")):
        file = f"{folder}/{name}.onnx"
        onnx.checker.check_model(onnx.load(file), full_check=True)
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        assert [value.name for value in session.get_inputs()] == list(feeds)
        assert [value.name for value in session.get_outputs()] == [output]
        close(output, session.run(None, feeds)[0], expected[output], 2e-6)
        assert float(session.get_modelmeta().custom_metadata_map["logit_scale"]) > 0


def check_onnx_outside(ours):
    """What protobuf does not hold in one file: a vocabulary of 2.2 GB, whose rows stand beside.
    Needs 5 GB of room and 6 GB of memory."""
    numpy, onnx, onnxruntime, _ = need("numpy", "onnx", "onnxruntime", "safetensors")
    from safetensors.numpy import load_file, save_file
    path, config, pixels, ids, _ = model_of(ours)
    weights = load_file(path)
    folder = ours.path("wide")
    os.makedirs(folder)
    width, words = 48, 11_500_000  # 2.2e9 bytes
    table = numpy.zeros((words, width), "f4")
    table[:600] = weights["token_embedding.weight"]
    table[-1] = 0.3
    weights["token_embedding.weight"] = table
    config["model_cfg"]["text_cfg"]["vocab_size"] = words
    with open(os.path.join(folder, "open_clip_config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file)
    save_file(weights, os.path.join(folder, "open_clip_model.safetensors"))
    del table, weights
    ids[0, 3] = words - 1  # the last row, where the file beside ends
    expected = ours.embed(folder, pixels, ids)
    file = ours.export(folder, "onnx")
    shutil.rmtree(folder)
    assert os.path.getsize(file + ".data") > 1 << 31 and os.path.getsize(file) < 1 << 20
    onnx.checker.check_model(file)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    got = session.run(["text_embeds", "image_embeds"],
                      {"input_ids": ids.astype("i8"), "pixel_values": pixels})
    close("text_embeds", got[0], expected["text_embeds"], 2e-6)
    close("image_embeds", got[1], expected["image_embeds"], 2e-6)
    os.remove(file)
    os.remove(file + ".data")


def check_from_transformers(ours):
    """A model that transformers saved, through us, to everybody: its own numbers come back."""
    torch, transformers, onnxruntime = need("torch", "transformers", "onnxruntime")
    for activation, eps in (("quick_gelu", 1e-5), ("gelu_pytorch_tanh", 1e-6), ("gelu", 1e-5)):
        through_us(ours, torch, transformers, onnxruntime, activation, eps)


def through_us(ours, torch, transformers, onnxruntime, activation, eps):
    saved = ours.path(f"saved-{activation}")
    config = transformers.CLIPConfig(
        projection_dim=24,
        text_config={"vocab_size": 600, "hidden_size": 32, "intermediate_size": 80,
                     "num_hidden_layers": 2, "num_attention_heads": 4,
                     "max_position_embeddings": 20, "bos_token_id": 558, "eos_token_id": 559,
                     "hidden_act": activation, "layer_norm_eps": eps},
        vision_config={"hidden_size": 48, "intermediate_size": 112, "num_hidden_layers": 2,
                       "num_attention_heads": 6, "image_size": 32, "patch_size": 8,
                       "hidden_act": activation, "layer_norm_eps": eps})
    torch.manual_seed(5)
    model = transformers.CLIPModel(config).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.add_(torch.randn_like(value) * 0.1)
    model.save_pretrained(saved)
    pixels = torch.randn(3, 3, 32, 32)
    ids = torch.tensor(ours.ids(ours.tokenizer(), 20).astype("i8"))
    ids[0, -1] = 599  # a larger id behind the end: only the first end token counts
    with torch.no_grad():
        want = model(input_ids=ids, pixel_values=pixels)
    got = ours.embed(saved, pixels.numpy(), ids.numpy().astype("i4"))
    close("ours", got["text_embeds"], want.text_embeds, 2e-6)
    session = onnxruntime.InferenceSession(ours.export(saved, "onnx"),
                                           providers=["CPUExecutionProvider"])
    text, image = session.run(["text_embeds", "image_embeds"], {
        "input_ids": ids.numpy(), "pixel_values": pixels.numpy()})
    close("onnx text", text, want.text_embeds, 2e-6)
    close("onnx image", image, want.image_embeds, 2e-6)
    again = transformers.CLIPModel.from_pretrained(ours.export(saved, "huggingface"))
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    got = ours.embed(ours.export(saved, "gguf"), pixels.numpy(),
                     ids.numpy().astype("i4"))
    close("gguf text", got["text_embeds"], want.text_embeds, 2e-6)
    close("gguf image", got["image_embeds"], want.image_embeds, 2e-6)


def check_inside(ours):
    """Hidden states and the gradient of paired cosines by the pixels: transformers' and PyTorch's
    own, of CLIP and of SigLIP."""
    torch, transformers = need("torch", "transformers")
    from safetensors.numpy import load_file, save_file
    text = {"vocab_size": 300, "hidden_size": 32, "intermediate_size": 80, "num_hidden_layers": 3,
            "num_attention_heads": 4, "max_position_embeddings": 12, "bos_token_id": 298,
            "eos_token_id": 299, "pad_token_id": 1}
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
              "num_attention_heads": 4, "image_size": 32, "patch_size": 8}
    clip = transformers.CLIPConfig(projection_dim=24, text_config=text, vision_config=vision)
    siglip = transformers.SiglipConfig(text_config=dict(text, projection_size=32),
                                       vision_config=vision)
    torch.manual_seed(6)
    for model in (transformers.CLIPModel(clip), transformers.SiglipModel(siglip)):
        with torch.no_grad():
            for value in model.parameters():
                value.add_(torch.randn_like(value) * 0.1)
        folder = ours.path(type(model).__name__)
        model.eval().save_pretrained(folder)
        pixels = torch.randn(3, 3, 32, 32, requires_grad=True)
        ids = torch.randint(2, 298, (3, 12))
        ids[:, 7] = 299
        out = model(input_ids=ids, pixel_values=pixels, output_hidden_states=True)
        (out.image_embeds * out.text_embeds).sum().backward()
        save_file({"pixel_values": pixels.detach().numpy(), "input_ids": ids.numpy()},
                  ours.path("in.safetensors"))
        for layer, place in (("last", -1), ("penultimate", -2)):
            ours.run("clip_embed", "--model", folder, "--tensors", ours.path("in.safetensors"),
                     "--grad", "--hidden-states", layer, "--output", ours.path("out.safetensors"))
            got = load_file(ours.path("out.safetensors"))
            states, image = out.text_model_output, out.vision_model_output
            close("text", got["hidden_states"], states.hidden_states[place].detach(), 5e-5)
            close("vision", got["vision_hidden_states"], image.hidden_states[place].detach(),
                  5e-5)
            close("gradient", got["pixel_grad"], pixels.grad, 1e-5)
        close("normed", model.text_model.final_layer_norm(states.hidden_states[-2]).detach(),
              got["hidden_states_ln"], 5e-5)


RUN = """[model]
embed_dim = 16
image_size = 16
patch_size = 8
vision_width = 16
vision_layers = 1
vision_heads = 2
context_length = 16
vocab_size = 560
text_width = 16
text_layers = 1
text_heads = 2
[train]
batch_size = 4
val_every = 3
save_every = 3
log_every = 1
tensorboard = true
[optim]
warmup = 1
"""


def check_tensorboard(ours):
    """A run's events by TensorBoard's own reader: the numbers of its logs, no step twice after a
    resume."""
    accumulator, image = need("tensorboard.backend.event_processing.event_accumulator", "PIL.Image")
    rows = ["filepath,title"]
    for i in range(8):
        image.new("RGB", (20 + i, 24), (20 * i, 90, 200 - 20 * i)).save(ours.path(f"{i}.png"))
        rows.append(f"{i}.png,colour number {i}")
    for name, text in (("pairs.csv", "\n".join(rows) + "\n"), ("run.ini", RUN)):
        with open(ours.path(name), "w", encoding="utf-8") as file:
            file.write(text)
    data = [f"data.train_data={ours.path('pairs.csv')}", f"data.val_data={ours.path('pairs.csv')}",
            f"data.tokenizer={ours.tokenizer()}"]
    for steps in (6, 9):
        sets = [part for value in data + [f"train.steps={steps}"] for part in ("--set", value)]
        ours.run("clip_train", "--config", ours.path("run.ini"), "--output", ours.path("run"),
                 "--quiet", "--resume", "--force", *sets)
    events = accumulator.EventAccumulator(ours.path("run"))
    events.Reload()
    for log, group, count in (("log.jsonl", "train", 9), ("metrics.jsonl", "val", 3)):
        with open(ours.path("run", log), encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        assert len(lines) == count, lines
        for key in set(lines[0]) - {"step", "epoch", "samples"}:
            seen = events.Scalars(f"{group}/{key}")
            assert [event.step for event in seen] == [line["step"] for line in lines], key
            for event, line in zip(seen, lines):
                assert abs(event.value - line[key]) <= 1e-6 * abs(line[key]), key


def check_siglip(ours):
    torch, transformers = need("torch", "transformers")
    config = transformers.SiglipConfig(
        text_config={"vocab_size": 180, "hidden_size": 32, "intermediate_size": 60,
                     "num_hidden_layers": 2, "num_attention_heads": 2, "projection_size": 32,
                     "max_position_embeddings": 10},
        vision_config={"hidden_size": 32, "intermediate_size": 76, "num_hidden_layers": 2,
                       "num_attention_heads": 4, "image_size": 32, "patch_size": 8})
    torch.manual_seed(6)
    model = transformers.SiglipModel(config).eval()
    model.save_pretrained(ours.path("siglip"))
    path = ours.path("siglip-export")
    ours.run("clip_export", "--model", ours.path("siglip"), "--format", "huggingface", "--output",
             path)
    again = transformers.SiglipModel.from_pretrained(path).eval()
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    inputs = {"pixel_values": torch.randn(2, 3, 32, 32),
              "input_ids": torch.randint(0, 180, (3, 10))}
    with torch.no_grad():
        want, got = model(**inputs), again(**inputs)
    close("logits", got.logits_per_image, want.logits_per_image, 0)
    own = ours.embed(path, inputs["pixel_values"].numpy(), inputs["input_ids"].numpy().astype("i4"))
    close("ours", own["text_embeds"], want.text_embeds, 2e-6)
    close("ours", own["image_embeds"], want.image_embeds, 2e-6)
    onnx, onnxruntime = need("onnx", "onnxruntime")
    path = ours.path("siglip.onnx")
    ours.run("clip_export", "--model", ours.path("siglip"), "--format", "onnx", "--output", path)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    got = session.run(["logits_per_image", "text_embeds", "image_embeds"],
                      {name: value.numpy() for name, value in inputs.items()})
    close("onnx logits", got[0], want.logits_per_image, 2e-5)
    close("onnx text", got[1], want.text_embeds, 2e-6)
    close("onnx image", got[2], want.image_embeds, 2e-6)


def check_open_clip_siglip(ours):
    """A SigLIP of open_clip with a small text tower and a tokenizer, here and back again."""
    torch, open_clip, _ = need("torch", "open_clip", "timm")
    source = os.path.join(os.path.dirname(__file__), "reference", "siglip_openclip_tiny")
    folder, again = ours.path("siglip-open-clip"), ours.path("siglip-open-clip-again")
    shutil.copytree(source, folder)
    with open(os.path.join(folder, "open_clip_config.json"), encoding="utf-8") as file:
        config = json.load(file)
    config["model_cfg"]["embed_dim"] = 768
    config["model_cfg"]["vision_cfg"] = {
        "image_size": 224, "timm_model_name": "vit_base_patch16_siglip_224",
        "timm_model_pretrained": False, "timm_pool": "map", "timm_proj": "none"}
    with open(os.path.join(folder, "open_clip_config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file)
    torch.manual_seed(7)
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.add_(torch.randn_like(value) * 0.02)
    torch.save(model.state_dict(), os.path.join(folder, "open_clip_pytorch_model.bin"))
    os.remove(os.path.join(folder, "open_clip_model.safetensors"))
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    pixels, ids = torch.randn(2, 3, 224, 224), tokenizer(CAPTIONS)
    ours.run("clip_export", "--model", folder, "--format", "open_clip", "--output", again)
    read = open_clip.create_model(f"local-dir:{again}").eval()
    assert (open_clip.get_tokenizer(f"local-dir:{again}")(CAPTIONS) == ids).all()
    with torch.no_grad():
        image = model.encode_image(pixels, normalize=True)
        text = model.encode_text(ids, normalize=True)
        close("image again", read.encode_image(pixels, normalize=True), image, 0)
        close("text again", read.encode_text(ids, normalize=True), text, 0)
    own = ours.embed(folder, pixels.numpy(), ids.numpy().astype("i4"))
    close("image", own["image_embeds"], image, 2e-6)
    close("text", own["text_embeds"], text, 2e-6)
    lines = ours.path("captions.txt")
    with open(lines, "w", encoding="utf-8") as file:
        file.write("\n".join(CAPTIONS) + "\n")
    ours.run("clip_embed", "--model", folder, "--texts", lines, "--output",
             ours.path("texts.npy"))
    close("texts", need("numpy")[0].load(ours.path("texts.npy")), text, 2e-6)


def script(ours, name, *arguments):
    """Another script beside this one, with a folder to work in."""
    folder = ours.path(name)
    path = os.path.join(os.path.dirname(__file__), name + ".py")
    done = subprocess.run([sys.executable, path, ours.build, folder, *arguments], check=False)
    shutil.rmtree(folder, ignore_errors=True)
    assert done.returncode == 0, f"{path} found a difference, or failed"


def check_unigram(ours):
    """Texts read by a SigLIP beside Unigram tokenizers."""
    need("torch", "transformers", "tokenizers")
    script(ours, "interop_unigram")


def check_models(ours):
    """ViT-B/32, B/16 and L/14, there and back."""
    need("torch", "transformers", "open_clip", "onnxruntime", "gguf")
    script(ours, "interop_models")


CHECKS = {name[6:]: check for name, check in list(globals().items()) if name.startswith("check_")}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(CHECKS))
    arguments = parser.parse_args()
    passed = failed = skipped = 0
    with tempfile.TemporaryDirectory() as folder:
        ours = Ours(arguments.build, folder)
        for name in arguments.names or CHECKS:
            try:
                CHECKS[name](ours)
                print(f"ok - {name}", flush=True)
                passed += 1
            except Skip as reason:
                print(f"ok - {name} # SKIP {reason}", flush=True)
                skipped += 1
            except Exception:  # whatever a library raises is this check's failure
                traceback.print_exc()
                print(f"not ok - {name}", flush=True)
                failed += 1
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
