#!/usr/bin/env python3
"""Writes tests/reference/tokens: a toy vocabulary and what the two reference tokenizers make of it.

    pip install open_clip_torch==3.3.0 tokenizers==0.23.3
    build/clip_data tokenizer train --input tests/reference/tokens/toy_captions.txt \\
        --vocab-size 900 --output tests/reference/tokens/toy_merges.txt
    gzip -9n tests/reference/tokens/toy_merges.txt
    python3 tests/make_token_reference.py

toy_tokens.jsonl has one object a line: text; ids, of the pipeline of transformers' CLIPTokenizer;
open_clip_ids, of open_clip's SimpleTokenizer(bpe_path=toy_merges.txt.gz), ftfy's guess at wrongly
decoded text switched off. Both with start and end.
"""
import gzip
import json
import pathlib

import ftfy
from open_clip import tokenizer as open_clip_tokenizer
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

FOLDER = pathlib.Path(__file__).parent / "reference" / "tokens"
MERGES = FOLDER / "toy_merges.txt.gz"
PIECES = (r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|"
          r"[^\s\p{L}\p{N}]+")
TEXTS = [
    "A photo of a cat.", "two dogs, one stick", "", "   ", "x", "DON'T we'LL they're 'tis ''s",
    "12 dogs 3.50 \u00bd \u2167 \u0967\u0968", "hello!!! ... ?!", "caf\u00e9 cafe\u0301",
    "\u03a3\u039f\u03a6\u039f\u03a3 \u0391\u03a3. \u0391\u03a3' \u03a3", "\u0130stanbul \u1e9e",
    "\u5728\u96ea\u5730\u4e2d\u5954\u8dd1\u7684\u72d7\u3002", "\u4e24\u53ea\u72d7\uff0c",
    "\uff21\uff22 \uff76\uff9e \uffe3", "\ufb01ne \ufb05 \u0149 \u01c5", "\u201cdog\u201d \u2019s",
    "a\u0323\u0307 \u1100\u1161\u11a8 \u0307\u0323",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 ok",
    "&amp; &lt;b&gt; caf&eacute; &copy 1", "&ampamp; &notit; &#0; &#x27; &#x110000; &#12abc; &;",
    "<p>&amp;amp;</p>", "P&EACUTE;REZ STRA&SZLIG;E &NAPOS; &fjlig;", "&amp;amp;quot;", "&#128;x",
    "'\u017f <\u017ftart_of_text> \u212a", "a\u0345b !\u0345!", "tab\tnew\r\nline\x0bvt\x0cff",
    "\x1b[31mred\x1b[0m a\x85b a\x1cb \ufeffbom \ufff9", "x\u00a0y\u3000z\u180ew\u2028v",
    "<|startoftext|>a <|endoftext|>", "<|EndOfText|>!'s", "<start_of_text> <END_OF_TEXT>",
    "a small robot paints a green door next to the old harbour", "aaaaaaaaaa bbbbb ababab",
    "ein Hund l\u00e4uft \u00fcber die Stra\u00dfe", "\u0441\u043e\u0431\u0430\u043a\u0430",
    "\u0639\u0631\u0628\u064a \u0939\u093f\u0928\u094d\u0926\u0940 \u0e44\u0e17\u0e22",
]


def hugging_face(simple):
    vocab = {token: i for token, i in simple.encoder.items() if i < simple.sot_token_id}
    vocab["<|startoftext|>"], vocab["<|endoftext|>"] = simple.sot_token_id, simple.eot_token_id
    model = models.BPE(vocab=vocab, merges=list(simple.bpe_ranks), continuing_subword_prefix="",
                       end_of_word_suffix="</w>", fuse_unk=False, unk_token="<|endoftext|>")
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(PIECES), behavior="removed", invert=True),
         pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.add_special_tokens([AddedToken(end, special=True, normalized=False)
                                  for end in ("<|startoftext|>", "<|endoftext|>")])
    return tokenizer


def main():
    fix_text = ftfy.fix_text
    open_clip_tokenizer.ftfy.fix_text = lambda text: fix_text(text, fix_encoding=False)
    simple = open_clip_tokenizer.SimpleTokenizer(bpe_path=str(MERGES))
    other = hugging_face(simple)
    ends = [simple.sot_token_id], [simple.eot_token_id]
    with open(FOLDER / "toy_tokens.jsonl", "w", encoding="ascii") as out:
        for text in TEXTS:
            out.write(json.dumps({
                "text": text,
                "ids": ends[0] + other.encode(text, add_special_tokens=False).ids + ends[1],
                "open_clip_ids": ends[0] + simple.encode(text) + ends[1],
            }) + "\n")


if __name__ == "__main__":
    main()
