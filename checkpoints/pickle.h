/* Reads Python's pickle as data, and never as the program that it is.
 *
 * A pickle is a list of instructions for a stack machine (Python's pickletools.py describes them
 * all); some of them look up any class and call it with anything. This reader builds a tree of
 * values and calls nothing. Where a pickle asks for a class or function, the tree has its name, and
 * a name that the caller does not know makes the file refused. It reads protocols 2 to 5;
 * instructions that weights do not need are refused by name. */
#ifndef CLIP_CHECKPOINTS_PICKLE_H
#define CLIP_CHECKPOINTS_PICKLE_H

#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"

enum clip_pickle_kind {
    CLIP_PICKLE_NONE,
    CLIP_PICKLE_BOOL,    /* integer: 0 or 1 */
    CLIP_PICKLE_INTEGER, /* integer, at most 64 bits */
    CLIP_PICKLE_REAL,
    CLIP_PICKLE_TEXT,   /* text, size: UTF-8 with a NUL behind it (it is not checked to be UTF-8) */
    CLIP_PICKLE_BYTES,  /* the same */
    CLIP_PICKLE_TUPLE,  /* items */
    CLIP_PICKLE_LIST,   /* items */
    CLIP_PICKLE_DICT,   /* items: key, value, key, value... in order */
    CLIP_PICKLE_GLOBAL, /* text: "MODULE NAME", a class or function */
    /* `of` (a GLOBAL) called with `with` (a tuple); `items` has what was put into the result by
     * key, `state` the state that it was given */
    CLIP_PICKLE_CALL,
    CLIP_PICKLE_PERSISTENT, /* `with`: the id of an object outside the pickle */
};

struct clip_pickle_value {
    enum clip_pickle_kind kind;
    union {
        int64_t integer;
        double real;
        struct {
            const char *text;
            size_t size;
        };
        struct {
            struct clip_pickle_value *of, *with, *state;
        };
    };
    struct clip_pickle_value **items;
    int64_t count, capacity;
};

/* Is this class or function ("MODULE NAME") one that the caller knows? */
typedef bool clip_pickle_known(const char *name);

/* Reads n bytes up to the end of the first pickle. Values live in `arena` and may refer to each
 * other in a circle, so whoever walks them must count the steps. Memory is at most about a hundred
 * times the pickle's bytes, of which at most CLIP_PICKLE_LIMIT are read. `name` is for messages. */
#define CLIP_PICKLE_LIMIT ((size_t)8 << 20)
clip_status clip_pickle_parse(const void *bytes, size_t n, const char *name,
                              clip_pickle_known *known, struct clip_arena *arena,
                              struct clip_pickle_value **out, struct clip_error *error);

/* The value of a text key of a dict (or a call); NULL if it is not there, or if this is no dict. */
const struct clip_pickle_value *clip_pickle_get(const struct clip_pickle_value *dict,
                                                const char *key);
/* Is the value of this kind and, unless `text` is NULL, is its text this one? */
bool clip_pickle_is(const struct clip_pickle_value *value, enum clip_pickle_kind kind,
                    const char *text);

#endif
