#!/usr/bin/env python3
"""Writes tests/reference/tokens/unigram*.json(l): small Unigram tokenizers with SigLIP's normalizer
and template, and the ids that the tokenizers library makes.

    pip install tokenizers==0.23.3
    python3 tests/make_unigram_reference.py [TEXTS]

The pieces are learnt from tests/reference/tokens/toy_captions.txt. TEXTS: a file with one text a
line more to compare on, whose lines are not kept: it needs --output, a folder to write to."""
import argparse
import json
import pathlib
import string

from tokenizers import (AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers,
                        processors, trainers)

FOLDER = pathlib.Path(__file__).parent / "reference" / "tokens"
TEXTS = [
    "A photo of a cat.", "two dogs, one stick", "", "   ", "x", "  a  Robot \t paints\n",
    "qqqzzz 42",
    "DON'T we'll", "caf\u00e9 cafe\u0301", "\u5728\u96ea\u5730\u4e2d a \u72d7", "a\u3000b\u00a0c",
    "\u0130stanbul \u03a3\u039f\u03a3", "\U0001f468\u200d\U0001f469 ok \U0001f600",
    "a\u2581b\u2581",
    "red</s>green", "a <unk> b", "  </s>  x </s></s>", "<pad>y", "</S> a", "<extra> 1", "a <extra>",
    "a small robot paints a green door next to the old harbour", "aaaaaaaaaabbbb", "!?...",
    "\u2581",
]


def make(captions, fallback, split, sequence):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Lowercase(),
         normalizers.Replace(Regex("[" + "".join("\\" + c for c in string.punctuation
                                                  if c not in "</>") + "]"), ""),
         normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip(),
         normalizers.Replace("grey", "gray"), normalizers.Replace(Regex(" {2,}"), " ")])
    space = pre_tokenizers.Metaspace(prepend_scheme="always" if split else "never", split=split)
    tokenizer.pre_tokenizer = (pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), space])
                               if sequence else space)
    special = ["<pad>", "</s>", "<unk>"]
    byte_pieces = ["<0x%02X>" % byte for byte in range(256)] if fallback else []
    tokenizer.train_from_iterator(captions, trainers.UnigramTrainer(
        vocab_size=150, special_tokens=special, unk_token="<unk>", show_progress=False))
    state = json.loads(tokenizer.to_str())
    state["model"]["vocab"] = [[piece, round(score, 4)] for piece, score
                               in state["model"]["vocab"]]
    state["model"]["vocab"] += [[piece, -20.0] for piece in byte_pieces]
    state["model"]["byte_fallback"] = fallback
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.add_special_tokens([
        AddedToken("<pad>", normalized=False), AddedToken("<unk>", normalized=False, lstrip=True),
        AddedToken("</s>", normalized=True, lstrip=True, rstrip=True)])
    tokenizer.add_tokens([AddedToken("<extra>", normalized=True)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))])
    return tokenizer


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("texts", nargs="?")
    parser.add_argument("--output", type=pathlib.Path, default=FOLDER)
    options = parser.parse_args()
    captions = (FOLDER / "toy_captions.txt").read_text(encoding="utf-8").splitlines()
    texts = TEXTS + captions[:8]
    if options.texts:
        if options.output == FOLDER:
            parser.error("texts of others are not kept beside the tests: give --output")
        texts += pathlib.Path(options.texts).read_text(encoding="utf-8").splitlines()
    kinds = {"unigram": (False, True, False), "unigram_bytes": (True, False, False),
             "unigram_words": (False, True, True)}
    for name, kind in kinds.items():
        tokenizer = make(captions, *kind)
        (options.output / f"{name}.json").write_text(
            json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False,
                       separators=(",", ":")) + "\n", encoding="utf-8")
        lines = [json.dumps({"text": text, "ids": tokenizer.encode(text).ids}, ensure_ascii=False)
                 for text in texts]
        (options.output / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
