#!/usr/bin/env python3
"""Writes data/text/html_entities.c: HTML5's named character references, from Python's own table.

    python3 tools/make_html_entities.py > data/text/html_entities.c

A name stands once; the flag says whether HTML also knows it without the semicolon.
"""
from html.entities import html5

WIDTH = 100


def main():
    names = sorted(name[:-1] for name in html5 if name.endswith(";"))
    print("/* HTML5's named character references, sorted by name. Written by")
    print(" * tools/make_html_entities.py from Python's html.entities.html5; do not edit. */")
    print('#include "data/text/html_entities.h"\n')
    print("/* clang-format off */")
    print("const struct clip_html_entity clip_html_entities[] = {")
    line = "   "
    for name in names:
        text = html5[name + ";"]
        assert len(text) <= 2 and html5.get(name, text) == text and len(name) <= 31
        points = ", ".join(f"0x{ord(c):x}" for c in text)
        cell = f' {{"{name}", {int(name in html5)}, {{{points}}}}},'
        if len(line) + len(cell) > WIDTH:
            print(line)
            line = "   "
        line += cell
    print(line)
    print("};")
    print("/* clang-format on */")
    print("const int clip_html_entity_count =")
    print("    (int)(sizeof clip_html_entities / sizeof clip_html_entities[0]);")


main()
