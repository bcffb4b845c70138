/* The stack machine. Every instruction makes at most one value, so memory is bounded by the
 * pickle's own size. */
#include "checkpoints/pickle.h"
#include "core/count.h"

#include <stdlib.h>
#include <string.h>

struct machine {
    const unsigned char *bytes;
    size_t n, at;
    const char *name;
    clip_pickle_known *known;
    struct clip_arena *arena;
    struct clip_error *error;
    struct clip_pickle_value **stack; /* NULL: a mark */
    int64_t depth, stack_capacity;
    struct clip_pickle_value **memo;
    int64_t memo_count, memo_capacity;
    /* shared, since nothing changes them */
    struct clip_pickle_value *none, *yes, *no, *empty_tuple;
};

static clip_status damaged(const struct machine *m, const char *what)
{
    clip_fail(m->error, CLIP_ERR_FORMAT,
              "%s: the pickle is damaged or cut: %s at byte %zu; fetch or copy the file again",
              m->name, what, m->at);
    return CLIP_ERR_FORMAT;
}

/* ---- Reading bytes ---- */

static clip_status take(struct machine *m, size_t n, const unsigned char **out)
{
    if (n > m->n - m->at) return damaged(m, "it ends too early");
    *out = m->bytes + m->at;
    m->at += n;
    return CLIP_OK;
}

/* Reads an unsigned little-endian number of 1, 2, 4 or 8 bytes. */
static clip_status take_number(struct machine *m, size_t bytes, uint64_t *out)
{
    const unsigned char *at = NULL;
    clip_status status = take(m, bytes, &at);
    *out = 0;
    for (size_t i = 0; status == CLIP_OK && i < bytes; i++) *out |= (uint64_t)at[i] << 8 * i;
    return status;
}

/* Reads up to a line feed, which is left out. */
static clip_status take_line(struct machine *m, const char **text, size_t *n)
{
    const unsigned char *start = m->bytes + m->at;
    const unsigned char *end = m->at < m->n ? memchr(start, '\n', m->n - m->at) : NULL;
    if (end == NULL) return damaged(m, "a line has no end");
    *text = (const char *)start;
    *n = (size_t)(end - start);
    m->at += *n + 1;
    return CLIP_OK;
}

/* ---- The stack ---- */

static clip_status push(struct machine *m, struct clip_pickle_value *value)
{
    clip_status status =
        clip_array_grow(&m->stack, &m->stack_capacity, m->depth + 1, sizeof *m->stack, m->error);
    if (status == CLIP_OK) m->stack[m->depth++] = value;
    return status;
}

static clip_status pop(struct machine *m, struct clip_pickle_value **out)
{
    if (m->depth == 0 || m->stack[m->depth - 1] == NULL)
        return damaged(m, "it takes from an empty stack");
    *out = m->stack[--m->depth];
    return CLIP_OK;
}

static clip_status top(struct machine *m, struct clip_pickle_value **out)
{
    clip_status status = pop(m, out);
    if (status == CLIP_OK) m->depth++;
    return status;
}

/* Pops the values above the last mark: *items points into the stack, whose depth is then the
 * mark's. */
static clip_status pop_mark(struct machine *m, struct clip_pickle_value ***items, int64_t *count)
{
    int64_t mark = m->depth - 1;
    while (mark >= 0 && m->stack[mark] != NULL) mark--;
    if (mark < 0) return damaged(m, "a mark is missing");
    *items = m->stack + mark + 1;
    *count = m->depth - mark - 1;
    m->depth = mark;
    return CLIP_OK;
}

static struct clip_pickle_value *make(struct machine *m, enum clip_pickle_kind kind)
{
    struct clip_pickle_value *value = clip_arena_alloc(m->arena, 1, sizeof *value, m->error);
    if (value != NULL) value->kind = kind;
    return value;
}

static clip_status push_new(struct machine *m, enum clip_pickle_kind kind,
                            struct clip_pickle_value **out)
{
    *out = make(m, kind);
    return *out != NULL ? push(m, *out) : CLIP_ERR_MEMORY;
}

static clip_status push_integer(struct machine *m, int64_t integer)
{
    struct clip_pickle_value *value;
    clip_status status = push_new(m, CLIP_PICKLE_INTEGER, &value);
    if (status == CLIP_OK) value->integer = integer;
    return status;
}

static clip_status push_text(struct machine *m, enum clip_pickle_kind kind, size_t length_bytes)
{
    clip_status status;
    struct clip_pickle_value *value;
    const unsigned char *at;
    uint64_t n;
    CLIP_TRY(take_number(m, length_bytes, &n));
    if (n > m->n) CLIP_TRY(damaged(m, "a text is longer than the file"));
    CLIP_TRY(take(m, (size_t)n, &at));
    CLIP_TRY(push_new(m, kind, &value));
    value->text = clip_arena_string(m->arena, (const char *)at, (size_t)n, m->error);
    value->size = (size_t)n;
    if (value->text == NULL) status = CLIP_ERR_MEMORY;
out:
    return status;
}

/* Adds values to a collection. */
static clip_status append(struct machine *m, struct clip_pickle_value *to,
                          struct clip_pickle_value *const *items, int64_t count)
{
    if (count > to->capacity - to->count) {
        int64_t capacity = 2 * to->capacity + count;
        struct clip_pickle_value **grown =
            clip_arena_alloc(m->arena, capacity, sizeof *grown, m->error);
        if (grown == NULL) return CLIP_ERR_MEMORY;
        if (to->count > 0) memcpy(grown, to->items, (size_t)to->count * sizeof *grown);
        to->items = grown;
        to->capacity = capacity;
    }
    if (count > 0) memcpy(to->items + to->count, items, (size_t)count * sizeof *items);
    to->count += count;
    return CLIP_OK;
}

/* Pops `count` values into a new tuple. */
static clip_status push_tuple(struct machine *m, struct clip_pickle_value *const *items,
                              int64_t count)
{
    clip_status status;
    struct clip_pickle_value *tuple = make(m, CLIP_PICKLE_TUPLE);
    if (tuple == NULL) return CLIP_ERR_MEMORY;
    CLIP_TRY(append(m, tuple, items, count)); /* before push overwrites them */
    CLIP_TRY(push(m, tuple));
out:
    return status;
}

static clip_status tuple_of_top(struct machine *m, int64_t count)
{
    if (m->depth < count) return damaged(m, "it takes from an empty stack");
    for (int64_t i = 1; i <= count; i++)
        if (m->stack[m->depth - i] == NULL) return damaged(m, "a mark is in a tuple");
    m->depth -= count;
    return push_tuple(m, m->stack + m->depth, count);
}

static clip_status collect(struct machine *m, enum clip_pickle_kind kind)
{
    clip_status status;
    struct clip_pickle_value **items, *value;
    int64_t count;
    CLIP_TRY(pop_mark(m, &items, &count));
    if (kind == CLIP_PICKLE_TUPLE) return push_tuple(m, items, count);
    value = make(m, kind);
    if (value == NULL) return CLIP_ERR_MEMORY;
    if (kind == CLIP_PICKLE_DICT && count % 2 != 0) CLIP_TRY(damaged(m, "a key has no value"));
    CLIP_TRY(append(m, value, items, count));
    CLIP_TRY(push(m, value));
out:
    return status;
}

/* Adds the values above the mark (or the top 1 or 2) to the collection below them. */
static clip_status extend(struct machine *m, bool marked, bool pairs)
{
    clip_status status;
    struct clip_pickle_value **items, *to;
    int64_t count = pairs ? 2 : 1;
    if (marked) {
        CLIP_TRY(pop_mark(m, &items, &count));
    } else {
        if (m->depth < count + 1) return damaged(m, "it takes from an empty stack");
        m->depth -= count;
        items = m->stack + m->depth;
        for (int64_t i = 0; i < count; i++)
            if (items[i] == NULL) return damaged(m, "a mark is in a collection");
    }
    CLIP_TRY(top(m, &to));
    bool fits = pairs ? to->kind == CLIP_PICKLE_DICT || to->kind == CLIP_PICKLE_CALL
                      : to->kind == CLIP_PICKLE_LIST;
    if (!fits || (pairs && count % 2 != 0)) CLIP_TRY(damaged(m, "no collection to add to"));
    CLIP_TRY(append(m, to, items, count));
out:
    return status;
}

/* ---- The memo ---- */

/* Picklers number their memo from 0 without a gap, so a number asks for no more memory than the
 * instructions before it account for. */
static clip_status memo_put(struct machine *m, uint64_t number)
{
    clip_status status;
    struct clip_pickle_value *value;
    CLIP_TRY(top(m, &value));
    if (number > (uint64_t)m->memo_count) CLIP_TRY(damaged(m, "its memo has gaps"));
    CLIP_TRY(
        clip_array_grow(&m->memo, &m->memo_capacity, m->memo_count + 1, sizeof *m->memo, m->error));
    m->memo[number] = value;
    if (number == (uint64_t)m->memo_count) m->memo_count++;
out:
    return status;
}

static clip_status memo_get(struct machine *m, uint64_t number)
{
    if (number >= (uint64_t)m->memo_count) return damaged(m, "its memo is read before it is made");
    return push(m, m->memo[number]);
}

/* ---- Classes and calls ---- */

static clip_status push_global(struct machine *m, const char *module, size_t module_size,
                               const char *name, size_t name_size)
{
    clip_status status;
    struct clip_pickle_value *value;
    struct clip_buffer whole = {0};
    CLIP_TRY(clip_buffer_append(&whole, module, module_size, m->error));
    CLIP_TRY(clip_buffer_append(&whole, " ", 1, m->error));
    CLIP_TRY(clip_buffer_append(&whole, name, name_size, m->error));
    if (memchr(whole.data, 0, whole.size) != NULL || !m->known(whole.data)) {
        CLIP_TRY(clip_fail(m->error, CLIP_ERR_FORMAT,
                           "%s: the pickle asks for \"%.100s\", which no weights need; it was not "
                           "run. If you trust the file, save its weights as safetensors",
                           m->name, whole.data));
    }
    CLIP_TRY(push_new(m, CLIP_PICKLE_GLOBAL, &value));
    value->text = clip_arena_string(m->arena, whole.data, whole.size, m->error);
    value->size = whole.size;
    if (value->text == NULL) status = CLIP_ERR_MEMORY;
out:
    clip_buffer_release(&whole);
    return status;
}

static clip_status global_of_lines(struct machine *m)
{
    clip_status status;
    const char *module, *name;
    size_t module_size, name_size;
    CLIP_TRY(take_line(m, &module, &module_size));
    CLIP_TRY(take_line(m, &name, &name_size));
    CLIP_TRY(push_global(m, module, module_size, name, name_size));
out:
    return status;
}

static clip_status global_of_stack(struct machine *m)
{
    clip_status status;
    struct clip_pickle_value *module, *name;
    CLIP_TRY(pop(m, &name));
    CLIP_TRY(pop(m, &module));
    if (name->kind != CLIP_PICKLE_TEXT || module->kind != CLIP_PICKLE_TEXT)
        CLIP_TRY(damaged(m, "a class is not named by texts"));
    CLIP_TRY(push_global(m, module->text, module->size, name->text, name->size));
out:
    return status;
}

static clip_status call(struct machine *m)
{
    clip_status status;
    struct clip_pickle_value *of, *with, *value;
    CLIP_TRY(pop(m, &with));
    CLIP_TRY(pop(m, &of));
    if (of->kind != CLIP_PICKLE_GLOBAL || with->kind != CLIP_PICKLE_TUPLE)
        CLIP_TRY(damaged(m, "it calls what cannot be called"));
    CLIP_TRY(push_new(m, CLIP_PICKLE_CALL, &value));
    value->of = of;
    value->with = with;
out:
    return status;
}

static clip_status build(struct machine *m)
{
    clip_status status;
    struct clip_pickle_value *state, *object;
    CLIP_TRY(pop(m, &state));
    CLIP_TRY(top(m, &object));
    if (object->kind != CLIP_PICKLE_CALL) CLIP_TRY(damaged(m, "no object to give a state to"));
    object->state = state;
out:
    return status;
}

static clip_status persistent(struct machine *m)
{
    clip_status status;
    struct clip_pickle_value *id, *value;
    CLIP_TRY(pop(m, &id));
    CLIP_TRY(push_new(m, CLIP_PICKLE_PERSISTENT, &value));
    value->with = id;
out:
    return status;
}

/* ---- Instructions ---- */

/* Reads a number in two's complement, little-endian, of at most 8 bytes, which is enough for any
 * size. */
static clip_status push_long(struct machine *m, size_t length_bytes)
{
    clip_status status;
    const unsigned char *at;
    uint64_t n, value = 0;
    CLIP_TRY(take_number(m, length_bytes, &n));
    if (n > 8) CLIP_TRY(damaged(m, "a whole number has more than 64 bits"));
    CLIP_TRY(take(m, (size_t)n, &at));
    for (size_t i = 0; i < n; i++) value |= (uint64_t)at[i] << 8 * i;
    if (n > 0 && n < 8 && at[n - 1] & 0x80) value |= ~(uint64_t)0 << 8 * n;
    CLIP_TRY(push_integer(m, (int64_t)value));
out:
    return status;
}

static clip_status push_real(struct machine *m)
{
    clip_status status;
    const unsigned char *at;
    struct clip_pickle_value *value;
    uint64_t bits = 0;
    CLIP_TRY(take(m, 8, &at));
    for (int i = 0; i < 8; i++) bits = bits << 8 | at[i]; /* big-endian */
    CLIP_TRY(push_new(m, CLIP_PICKLE_REAL, &value));
    memcpy(&value->real, &bits, sizeof bits);
out:
    return status;
}

static clip_status push_fixed(struct machine *m, size_t bytes)
{
    uint64_t value;
    clip_status status = take_number(m, bytes, &value);
    if (status != CLIP_OK) return status;
    return push_integer(m, bytes == 4 ? (int64_t)(int32_t)(uint32_t)value : (int64_t)value);
}

static clip_status memo_by(struct machine *m, size_t bytes,
                           clip_status (*use)(struct machine *m, uint64_t number))
{
    uint64_t number;
    clip_status status = take_number(m, bytes, &number);
    return status == CLIP_OK ? use(m, number) : status;
}

static clip_status skip(struct machine *m, size_t bytes)
{
    const unsigned char *at;
    return take(m, bytes, &at);
}

static clip_status protocol(struct machine *m)
{
    uint64_t number;
    clip_status status = take_number(m, 1, &number);
    if (status != CLIP_OK || (number >= 2 && number <= 5)) return status;
    return clip_fail(m->error, CLIP_ERR_FORMAT,
                     "%s: the pickle is of protocol %d; 2 to 5 can be "
                     "read",
                     m->name, (int)number);
}

static clip_status discard(struct machine *m, bool to_mark)
{
    struct clip_pickle_value **items, *value;
    int64_t count;
    return to_mark ? pop_mark(m, &items, &count) : pop(m, &value);
}

static clip_status refuse(const struct machine *m, unsigned char code)
{
    static const struct {
        unsigned char code;
        const char *name;
    } names[] = {
        {'i', "INST"},        {'o', "OBJ"},          {'I', "INT"},
        {'L', "LONG"},        {'S', "STRING"},       {'F', "FLOAT"},
        {'V', "UNICODE"},     {'g', "GET"},          {'p', "PUT"},
        {'P', "PERSID"},      {'2', "DUP"},          {0x82, "EXT1"},
        {0x83, "EXT2"},       {0x84, "EXT4"},        {0x8f, "EMPTY_SET"},
        {0x90, "ADDITEMS"},   {0x91, "FROZENSET"},   {0x92, "NEWOBJ_EX"},
        {0x96, "BYTEARRAY8"}, {0x97, "NEXT_BUFFER"}, {0x98, "READONLY_BUFFER"},
    };
    const char *name = "unknown";
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].code == code) name = names[i].name;
    return clip_fail(m->error, CLIP_ERR_FORMAT,
                     "%s: the pickle holds the instruction 0x%02x (%s) at byte %zu, which no "
                     "weights need; if you trust the file, save its weights as safetensors",
                     m->name, code, name, m->at - 1);
}

/* Executes one instruction; the names are those of pickletools. */
static clip_status step(struct machine *m, unsigned char code)
{
    struct clip_pickle_value *value;
    switch (code) {
    case 0x80: return protocol(m);
    case 0x95: return skip(m, 8);       /* FRAME */
    case '(': return push(m, NULL);     /* MARK */
    case '0': return discard(m, false); /* POP */
    case '1': return discard(m, true);  /* POP_MARK */
    case 'N': return push(m, m->none);
    case 0x88: return push(m, m->yes);                    /* NEWTRUE */
    case 0x89: return push(m, m->no);                     /* NEWFALSE */
    case 'K': return push_fixed(m, 1);                    /* BININT1 */
    case 'M': return push_fixed(m, 2);                    /* BININT2 */
    case 'J': return push_fixed(m, 4);                    /* BININT */
    case 0x8a: return push_long(m, 1);                    /* LONG1 */
    case 0x8b: return push_long(m, 4);                    /* LONG4 */
    case 'G': return push_real(m);                        /* BINFLOAT */
    case 0x8c: return push_text(m, CLIP_PICKLE_TEXT, 1);  /* SHORT_BINUNICODE */
    case 'X': return push_text(m, CLIP_PICKLE_TEXT, 4);   /* BINUNICODE */
    case 0x8d: return push_text(m, CLIP_PICKLE_TEXT, 8);  /* BINUNICODE8 */
    case 'U': return push_text(m, CLIP_PICKLE_TEXT, 1);   /* SHORT_BINSTRING, of Python 2 */
    case 'T': return push_text(m, CLIP_PICKLE_TEXT, 4);   /* BINSTRING */
    case 'C': return push_text(m, CLIP_PICKLE_BYTES, 1);  /* SHORT_BINBYTES */
    case 'B': return push_text(m, CLIP_PICKLE_BYTES, 4);  /* BINBYTES */
    case 0x8e: return push_text(m, CLIP_PICKLE_BYTES, 8); /* BINBYTES8 */
    case ')': return push(m, m->empty_tuple);
    case 0x85: return tuple_of_top(m, 1);
    case 0x86: return tuple_of_top(m, 2);
    case 0x87: return tuple_of_top(m, 3);
    case 't': return collect(m, CLIP_PICKLE_TUPLE);
    case ']': return push_new(m, CLIP_PICKLE_LIST, &value); /* EMPTY_LIST */
    case 'l': return collect(m, CLIP_PICKLE_LIST);
    case '}': return push_new(m, CLIP_PICKLE_DICT, &value); /* EMPTY_DICT */
    case 'd': return collect(m, CLIP_PICKLE_DICT);
    case 'a': return extend(m, false, false);               /* APPEND */
    case 'e': return extend(m, true, false);                /* APPENDS */
    case 's': return extend(m, false, true);                /* SETITEM */
    case 'u': return extend(m, true, true);                 /* SETITEMS */
    case 'q': return memo_by(m, 1, memo_put);               /* BINPUT */
    case 'r': return memo_by(m, 4, memo_put);               /* LONG_BINPUT */
    case 0x94: return memo_put(m, (uint64_t)m->memo_count); /* MEMOIZE */
    case 'h': return memo_by(m, 1, memo_get);               /* BINGET */
    case 'j': return memo_by(m, 4, memo_get);               /* LONG_BINGET */
    case 'c': return global_of_lines(m);                    /* GLOBAL */
    case 0x93: return global_of_stack(m);                   /* STACK_GLOBAL */
    case 'R': return call(m);                               /* REDUCE */
    case 0x81: return call(m);                              /* NEWOBJ */
    case 'b': return build(m);                              /* BUILD */
    case 'Q': return persistent(m);                         /* BINPERSID */
    default: return refuse(m, code);
    }
}

clip_status clip_pickle_parse(const void *bytes, size_t n, const char *name,
                              clip_pickle_known *known, struct clip_arena *arena,
                              struct clip_pickle_value **out, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct machine m = {
        .bytes = bytes, .n = n, .name = name, .known = known, .arena = arena, .error = error};
    if (n > CLIP_PICKLE_LIMIT) {
        return clip_fail(error, CLIP_ERR_FORMAT, "%s: the pickle has %s; at most %zu are read",
                         name, CLIP_COUNT(n, "byte"), CLIP_PICKLE_LIMIT);
    }
    m.none = make(&m, CLIP_PICKLE_NONE);
    m.yes = make(&m, CLIP_PICKLE_BOOL);
    m.no = make(&m, CLIP_PICKLE_BOOL);
    m.empty_tuple = make(&m, CLIP_PICKLE_TUPLE);
    if (m.none == NULL || m.yes == NULL || m.no == NULL || m.empty_tuple == NULL)
        return CLIP_ERR_MEMORY;
    m.yes->integer = 1;
    for (;;) {
        const unsigned char *code;
        CLIP_TRY(take(&m, 1, &code));
        if (*code == '.') break;
        CLIP_TRY(step(&m, *code));
    }
    CLIP_TRY(pop(&m, out));
    if (m.depth != 0) CLIP_TRY(damaged(&m, "values are left over"));
out:
    free(m.stack);
    free(m.memo);
    return status;
}

const struct clip_pickle_value *clip_pickle_get(const struct clip_pickle_value *dict,
                                                const char *key)
{
    if (dict->kind != CLIP_PICKLE_DICT && dict->kind != CLIP_PICKLE_CALL) return NULL;
    for (int64_t i = 0; i + 1 < dict->count; i += 2)
        if (clip_pickle_is(dict->items[i], CLIP_PICKLE_TEXT, key)) return dict->items[i + 1];
    return NULL;
}

bool clip_pickle_is(const struct clip_pickle_value *value, enum clip_pickle_kind kind,
                    const char *text)
{
    if (value == NULL || value->kind != kind) return false;
    return text == NULL ||
           (value->size == strlen(text) && memcmp(value->text, text, value->size) == 0);
}
