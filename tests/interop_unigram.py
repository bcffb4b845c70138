#!/usr/bin/env python3
"""A random SigLIP of transformers beside a Unigram tokenizer reads texts as transformers does.

    python3 tests/interop_unigram.py BUILD FOLDER

Needs torch, transformers and safetensors. Compares ids and text embeddings, of the folder itself
and of what clip_export makes of it: 2e-5 at most.
"""
import json, pathlib, subprocess, sys

from interop import load_torchvision

load_torchvision()
import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformers import PreTrainedTokenizerFast, SiglipConfig, SiglipModel  # noqa: E402

BUILD, FOLDER = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
TOKENS = pathlib.Path(__file__).parent / "reference" / "tokens"


def run(program, *arguments):
    subprocess.run([BUILD / program, "--quiet", *arguments], check=True,
                   stdout=subprocess.DEVNULL)


def check(name, folder, texts):
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    ids = tokenizer(texts, padding="max_length", truncation=True, max_length=16,
                    return_tensors="pt").input_ids
    text = SiglipModel.from_pretrained(folder).eval().get_text_features(ids)
    text = getattr(text, "pooler_output", text)
    expected = text / text.norm(dim=-1, keepdim=True)
    (FOLDER / "texts.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    run("clip_embed", "--model", folder, "--texts", FOLDER / "texts.txt", "--output",
        FOLDER / "got.safetensors")
    off = (load_file(FOLDER / "got.safetensors")["text_embeds"] - expected).abs().max().item()
    print(f"  {'ok' if off < 2e-5 else 'not ok'} - {name}: at most {off:.1e} apart", flush=True)
    return off < 2e-5


def main():
    torch.manual_seed(0)
    small = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)
    results = []
    for name in ("unigram", "unigram_bytes", "unigram_words", "unigram_charsmap"):
        folder = FOLDER / name
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(TOKENS / f"{name}.json"),
                                            eos_token="</s>", unk_token="<unk>",
                                            pad_token="</s>" if name == "unigram" else "<pad>")
        tokenizer.save_pretrained(folder)
        text = dict(small, vocab_size=len(tokenizer), max_position_embeddings=16,
                    projection_size=32)
        vision = dict(small, image_size=32, patch_size=8)
        model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision))
        model.save_pretrained(folder)
        lines = (TOKENS / f"{name}.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
        texts = [json.loads(line)["text"] for line in lines]
        texts = [text for text in texts if text.strip() and "\n" not in text and "\r" not in text]
        results.append(check(name, folder, texts))
        run("clip_export", "--model", folder, "--format", "huggingface", "--output",
            FOLDER / (name + "-back"))
        results.append(check(name + " exported", FOLDER / (name + "-back"), texts))
    return all(results)


if __name__ == "__main__":
    with torch.no_grad():
        sys.exit(0 if main() else 1)
