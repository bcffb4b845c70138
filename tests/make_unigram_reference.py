#!/usr/bin/env python3
"""Writes tests/reference/tokens/unigram*.json(l): small Unigram tokenizers with SigLIP's normalizer
and template (unigram_charsmap: T5's, with a table of characters that sentencepiece compiles of
rules of ours), and the ids that the tokenizers library makes.

    pip install tokenizers==0.23.3 sentencepiece==0.2.3 protobuf
    python3 tests/make_unigram_reference.py [--rule RULE] [TEXTS]

The pieces are learnt from tests/reference/tokens/toy_captions.txt. TEXTS: a file with one text a
line more to compare on, whose lines are not kept: it needs --output, a folder to write to. RULE:
one of sentencepiece's own tables (nmt_nfkc) in place of our rules, likewise."""
import argparse
import io
import json
import pathlib
import string
import tempfile
import unicodedata

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

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
    "\uff21\uff42\uff43\uff11\uff12 \u2460 \u00bd", "of\ufb01ce \ufb03 o\ufb01\u0301",
    "e\u0301e\u0301\u0302 E\u0301",
    "a\u200bb\u200d\u200bc \u200b", "\ufb01", "\u3042\u3099\u304b\u3099 \u304c",
    "\r\n a\r\nb\u2028c",
    "\u00b2\u0301 x\u00b2\u0301\u0302", "\u0628\u064e\u0627 \u0915\u094d\u0937",
    "\U0001f600\ufe0f \u2764\ufe0f \u2764",
    "\u1112\u1161\u11ab \ud55c", "\U0001f1e9\U0001f1ea\U0001f1eb", "\u00a0\u00a0\u3000 x",
]


def rules():
    """A rule a line, "SOURCE<tab>TARGET" in hexadecimal: wide and circled forms, ligatures, kana
    with their marks, accents on vowels, characters that vanish, become a space or several."""
    pairs = {"\u200b": "", "\u2028": " ", "\u00a0": " ", "\u3000": " ", "\t": " ", "\n": " ",
             "\u2764": "<3", "\U0001f600": ":)", "\r\n": " ", "\ufe0f": ""}
    for first, last in ((0xFF01, 0xFF5F), (0x2460, 0x2469), (0xFB00, 0xFB05), (0xBC, 0xBF),
                        (0xB2, 0xB4)):
        pairs.update((chr(i), unicodedata.normalize("NFKC", chr(i))) for i in range(first, last))
    for base in "aeiouAEIOU\u304b\u304d\u304f":
        for mark in "\u0300\u0301\u0302\u3099":
            whole = unicodedata.normalize("NFC", base + mark)
            if len(whole) == 1:
                pairs[base + mark] = whole
    return "".join(" ".join(f"{ord(c):X}" for c in source) + "\t"
                   + " ".join(f"{ord(c):X}" for c in target) + "\n"
                   for source, target in sorted(pairs.items()))


def charsmap(captions, rule):
    """The table as sentencepiece compiles it of our rules, or its own one of that name."""
    model = io.BytesIO()
    with tempfile.NamedTemporaryFile("w", suffix=".tsv", encoding="utf-8") as file:
        file.write(rules())
        file.flush()
        which = ({"normalization_rule_name": rule} if rule
                 else {"normalization_rule_tsv": file.name})
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(captions), model_writer=model, vocab_size=120,
            hard_vocab_limit=False, minloglevel=2, **which)
    read = sentencepiece_model_pb2.ModelProto.FromString(model.getvalue())
    return read.normalizer_spec.precompiled_charsmap


def make(captions, fallback, split, sequence, table=None):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Strip(left=False, right=True), normalizers.Precompiled(table),
         normalizers.Replace(Regex(" {2,}"), "\u2581")] if table else
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
    parser.add_argument("--rule")
    options = parser.parse_args()
    captions = (FOLDER / "toy_captions.txt").read_text(encoding="utf-8").splitlines()
    texts = TEXTS + captions[:8]
    if (options.texts or options.rule) and options.output == FOLDER:
        parser.error("what is others' is not kept beside the tests: give --output")
    if options.texts:
        texts += pathlib.Path(options.texts).read_text(encoding="utf-8").splitlines()
    table = charsmap(captions, options.rule)
    kinds = {"unigram": (False, True, False), "unigram_bytes": (True, False, False),
             "unigram_words": (False, True, True), "unigram_charsmap": (False, True, False, table)}
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
