/* Python's pickle read as data, and never as the program that it is.
 *
 * A pickle is a list of instructions for a stack machine (Python's pickletools.py describes them
 * all); among them are some that look up any class and call it with anything. This reader builds a
 * tree of values and calls nothing: where a pickle asks for a class or function, the tree says so
 * by its name, and a name that the caller does not know by heart refuses the file. Protocols 2 to
 * 5; instructions of which weights have no need are refused by name. */
#ifndef CLIP_CHECKPOINTS_PICKLE_H
#define CLIP_CHECKPOINTS_PICKLE_H

#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"

enum clip_pickle_kind {
    CLIP_PICKLE_NONE,
    CLIP_PICKLE_BOOL,    /* integer: 0 or 1 */
    CLIP_PICKLE_INTEGER, /* integer, 64 bits at most */
    CLIP_PICKLE_REAL,
    CLIP_PICKLE_TEXT,       /* text, size: UTF-8 with a NUL behind (not checked to be UTF-8) */
    CLIP_PICKLE_BYTES,      /* the same */
    CLIP_PICKLE_TUPLE,      /* items */
    CLIP_PICKLE_LIST,       /* items */
    CLIP_PICKLE_DICT,       /* items: key, value, key, value... in order */
    CLIP_PICKLE_GLOBAL,     /* text: "MODULE NAME", a class or function */
    CLIP_PICKLE_CALL,       /* `of` (a GLOBAL) called with `with` (a tuple); what was put into the
                               result by key stands in items, the state it was given in `state` */
    CLIP_PICKLE_PERSISTENT, /* `with`: the id of an object that lies outside */
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

/* Reads n bytes up to the end of the first pickle. Values live in `arena`, and may refer to each
 * other in a circle: whoever walks them counts his steps. Memory is at most about a hundred bytes
 * a byte of the pickle, of which CLIP_PICKLE_LIMIT are read at most. `name` is for messages. */
#define CLIP_PICKLE_LIMIT ((size_t)8 << 20)
clip_status clip_pickle_parse(const void *bytes, size_t n, const char *name,
                              clip_pickle_known *known, struct clip_arena *arena,
                              struct clip_pickle_value **out, struct clip_error *error);

/* The value of a dict's (or a call's) text key; NULL: not there, or no dict. */
const struct clip_pickle_value *clip_pickle_get(const struct clip_pickle_value *dict,
                                                const char *key);
/* The value is `kind` and, where `text` is not NULL, its text is this one. */
bool clip_pickle_is(const struct clip_pickle_value *value, enum clip_pickle_kind kind,
                    const char *text);

#endif
