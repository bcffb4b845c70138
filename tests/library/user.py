"""A program of somebody's own, in Python, by ctypes alone: what it embeds by several roads has to
agree, and be what clip_embed writes.

    user.py LIBRARY MODEL IMAGE ROW     ROW: the image's embedding, n float32
"""
import ctypes as c
import sys

UNIT, PAD_END, LAST, INTERRUPTED, USAGE = 0, -2, 0, 8, 1


class Error(c.Structure):
    _fields_ = [("status", c.c_int), ("message", c.c_char * 1024)]


Log = c.CFUNCTYPE(None, c.c_void_p, c.c_int, c.c_char_p)
Cancelled = c.CFUNCTYPE(c.c_bool, c.c_void_p)


class Options(c.Structure):
    _fields_ = [("tokenizer", c.c_char_p), ("raw_weights", c.c_bool), ("max_pixels", c.c_int64),
                ("use", c.c_int), ("say", c.c_bool), ("checksum", c.c_bool), ("bf16", c.c_bool),
                ("pack", c.c_bool), ("log", Log), ("cancelled", Cancelled),
                ("context", c.c_void_p), ("upright", c.c_bool)]


class Later(c.Structure):
    _fields_ = [("now", Options), ("more", c.c_int64)]


class Image(c.Structure):
    _fields_ = [("path", c.c_char_p), ("bytes", c.c_char_p), ("size", c.c_size_t),
                ("rgb", c.c_void_p), ("width", c.c_int64), ("height", c.c_int64)]


lib = c.CDLL(sys.argv[1])
lib.clip_version.restype = c.c_char_p
pointer, size, number, int64 = c.c_void_p, c.c_size_t, c.c_int, c.c_int64
for name, arguments in {
        "open_sized": [pointer, c.c_char_p, pointer, size, pointer],
        "images_sized": [pointer, pointer, size, int64, number, pointer, pointer, pointer],
        "preprocess_sized": [pointer, pointer, size, int64, pointer, pointer, pointer],
        "pixels": [pointer, pointer, int64, number, pointer, pointer],
        "texts": [pointer, pointer, int64, number, pointer, pointer, pointer],
        "tokenize": [pointer, pointer, int64, c.c_int32, pointer, pointer, pointer],
        "ids": [pointer, pointer, int64, int64, number, pointer, pointer],
        "text_states": [pointer, pointer, int64, int64, number, pointer, pointer, pointer],
        "free": [pointer]}.items():
    getattr(lib, "clip_embedder_" + name).argtypes = arguments
for name in ["dim", "image_size", "context", "text_width"]:
    getter = getattr(lib, "clip_embedder_" + name)
    getter.argtypes, getter.restype = [pointer], int64

error = Error()


def call(name, *arguments, fails=0):
    status = getattr(lib, "clip_embedder_" + name)(*arguments, c.byref(error))
    assert status == fails, (name, status, error.message.decode())


lines, patient = [], [True]
options = Options(say=True, log=Log(lambda _, level, text: lines.append((level, text.decode()))),
                  cancelled=Cancelled(lambda _: not patient[0]))
e = c.c_void_p()
later = Later(options, 1)
call("open_sized", c.byref(e), sys.argv[2].encode(), c.byref(later), c.sizeof(later), fails=USAGE)
assert not e.value and b"does not know" in error.message, error.message
later.more = 0
call("open_sized", c.byref(e), sys.argv[2].encode(), c.byref(later), c.sizeof(later))
lib.clip_embedder_free(e)
lines.clear()
call("open_sized", c.byref(e), sys.argv[2].encode(), c.byref(options), c.sizeof(options))
assert len(lines) == 1 and lines[0][0] == 0, lines
dim, side, context = (getattr(lib, "clip_embedder_" + x)(e)
                      for x in ["dim", "image_size", "context"])

data = open(sys.argv[3], "rb").read()
images = (Image * 2)(Image(path=sys.argv[3].encode()), Image(bytes=data, size=len(data)))
rows = (c.c_float * dim * 2)()
call("images_sized", e, images, c.sizeof(Image), 2, UNIT, rows, None)
assert bytes(rows[0]) == bytes(rows[1]), "a file and its bytes are the same image"
assert bytes(rows[0]) == open(sys.argv[4], "rb").read()[-4 * dim:], "clip_embed writes the same"
pixels, steps = (c.c_float * (3 * side * side))(), (c.c_float * dim)()
call("preprocess_sized", e, images, c.sizeof(Image), 1, pixels, None)
call("pixels", e, pixels, 1, UNIT, steps)
assert bytes(steps) == bytes(rows[0]), "in two steps it is the same row"

texts = (c.c_char_p * 2)(b"gray", "ein rotes Bild, größer".encode())
ids = (c.c_int32 * context * 2)()
by_texts, by_ids = (c.c_float * dim * 2)(), (c.c_float * dim * 2)()
call("texts", e, texts, 2, UNIT, by_texts, None)
call("tokenize", e, texts, 2, PAD_END, ids, None)
call("ids", e, ids, 2, context, UNIT, by_ids)
assert bytes(by_texts) == bytes(by_ids), "token ids give the texts' rows"
states = (c.c_float * (2 * context * lib.clip_embedder_text_width(e)))()
call("text_states", e, ids, 2, context, LAST, None, states)
assert any(states), "there are hidden states"

patient[0] = False
call("texts", e, texts, 2, UNIT, by_texts, None, fails=INTERRUPTED)
assert b"cancelled" in error.message
lib.clip_embedder_free(e)
print(lib.clip_version().decode(), dim)
