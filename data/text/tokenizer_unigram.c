/* Unigram (Kudo 2018), as SigLIP's tokenizer.json describes it for the tokenizers library: of all
 * ways to cut a word into pieces of the vocabulary, it takes the one with the largest sum of
 * log-probabilities. A character that is no piece costs the least probability and 10 more.
 * Neighbouring ones of these become one unknown piece, or its bytes (byte_fallback). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/count.h"
#include "core/json.h"
#include "data/text/text_clean.h"
#include "data/text/text_points.h"
#include "data/text/tokenizer_internal.h"

enum { UNKNOWN_PENALTY = 10 };

struct added_token { /* </s>, <unk>: they are found in a text before it is cut */
    struct clip_points content;
    int32_t id;
    bool normalized;     /* looked for after the normalizer, not before it */
    bool lstrip, rstrip; /* includes the white space beside it */
};

struct clip_unigram {
    struct clip_tokenizer base;
    struct clip_normalizer normalizer;
    struct added_token *added;
    int64_t added_count, added_capacity;
    bool at_space;       /* WhitespaceSplit: words are cut at white space, which is dropped */
    bool prepend, split; /* Metaspace: a word begins with `space`; cut before each one */
    int32_t space;       /* what a space becomes */
    int32_t unknown;
    int32_t bytes[256]; /* the ids of <0x00>..<0xFF>; -1 if there is no byte_fallback */
    double unknown_score;
    int64_t count;      /* the number of pieces; added tokens may follow, up to base.vocab_size */
    const char **names; /* [base.vocab_size] in `memory` */
    double *scores;     /* [count] */
    struct clip_int_map trie; /* a node and a byte -> the next node; node 0 is the root */
    int32_t *id_at;           /* [nodes] the piece that ends at this node; -1 if none does */
    int64_t nodes, node_capacity;
    struct clip_arena memory;
};

static const struct clip_tokenizer_ops unigram_ops;

/* ---- Reading ---- */

static clip_status unread(const char *name, const char *what, const json_t *value,
                          struct clip_error *error)
{
    const char *text = json_string_value(value);
    return clip_fail(error, CLIP_ERR_DATA,
                     "%s: the tokenizer's %s (%.60s) is not read here, so its ids would be wrong; "
                     "give texts as --tensors",
                     name, what, text != NULL ? text : "another value");
}

/* The node that follows this one by a byte; -1 if there is none. */
static int32_t step(const struct clip_unigram *u, int32_t node, char byte)
{
    return (int32_t)clip_int_map_find(&u->trie, clip_pair_key(node, (unsigned char)byte));
}

/* The piece with these bytes; -1 if there is none. */
static int32_t find_piece(const struct clip_unigram *u, const char *bytes, size_t n)
{
    int32_t node = 0;
    for (size_t i = 0; i < n && node >= 0; i++) node = step(u, node, bytes[i]);
    return node > 0 ? u->id_at[node] : -1;
}

static clip_status add_node(struct clip_unigram *u, struct clip_error *error)
{
    if (u->nodes >= INT32_MAX)
        return clip_fail(error, CLIP_ERR_DATA, "the tokenizer's vocabulary is too large");
    clip_status status =
        clip_array_grow(&u->id_at, &u->node_capacity, u->nodes + 1, sizeof *u->id_at, error);
    if (status == CLIP_OK) u->id_at[u->nodes++] = -1;
    return status;
}

/* Of equal pieces the last one's id counts, as in the tokenizers library. */
static clip_status add_piece(struct clip_unigram *u, const char *piece, int32_t id,
                             struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int32_t node = 0;
    u->names[id] = clip_arena_string(&u->memory, piece, strlen(piece), error);
    if (u->names[id] == NULL) return error->status;
    for (; *piece; piece++) {
        int32_t next = step(u, node, *piece);
        if (next < 0) {
            next = (int32_t)u->nodes;
            CLIP_TRY(add_node(u, error));
            CLIP_TRY(clip_int_map_put(&u->trie, clip_pair_key(node, (unsigned char)*piece), next,
                                      error));
        }
        node = next;
    }
    if (node > 0) u->id_at[node] = id;
out:
    return status;
}

static clip_status read_model(struct clip_unigram *u, const json_t *model, int64_t added,
                              const char *name, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const json_t *vocab = json_object_get(model, "vocab"), *unk = json_object_get(model, "unk_id");
    double least = INFINITY;
    char spelling[8];
    size_t i;
    json_t *entry;
    u->count = (int64_t)json_array_size(vocab);
    u->unknown = json_is_integer(unk) && json_integer_value(unk) >= 0 &&
                         json_integer_value(unk) < u->count
                     ? (int32_t)json_integer_value(unk)
                     : -1;
    if (u->count >= INT32_MAX || u->unknown < 0) {
        return clip_fail(error, CLIP_ERR_DATA,
                         "%s: the tokenizer's unk_id is none of its vocabulary of %s", name,
                         CLIP_COUNT(u->count, "piece"));
    }
    u->base.vocab_size = u->count;
    CLIP_NEW(u->names, u->count + added);
    CLIP_NEW(u->scores, u->count);
    CLIP_TRY(add_node(u, error));
    json_array_foreach(vocab, i, entry)
    {
        const char *piece = json_string_value(json_array_get(entry, 0));
        const json_t *score = json_array_get(entry, 1);
        if (piece == NULL || !json_is_number(score) || json_array_size(entry) != 2) {
            return clip_fail(error, CLIP_ERR_FORMAT,
                             "%s: entry %zu of the vocabulary is no piece and its log-probability; "
                             "the file is damaged",
                             name, i + 1);
        }
        u->scores[i] = json_number_value(score);
        least = fmin(least, u->scores[i]);
        CLIP_TRY(add_piece(u, piece, (int32_t)i, error));
    }
    u->unknown_score = least - UNKNOWN_PENALTY;
    bool fallback = json_is_true(json_object_get(model, "byte_fallback"));
    for (int byte = 0; byte < 256; byte++) {
        snprintf(spelling, sizeof spelling, "<0x%02X>", (unsigned)byte);
        u->bytes[byte] = fallback ? find_piece(u, spelling, strlen(spelling)) : -1;
    }
out:
    return status;
}

static bool flag(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

static clip_status read_added(struct clip_unigram *u, const json_t *list, const char *name,
                              struct clip_error *error)
{
    clip_status status = CLIP_OK;
    size_t i;
    json_t *json;
    if (json_array_size(list) > CLIP_ADDED_TOKENS)
        return clip_fail(error, CLIP_ERR_DATA,
                         "%s: the tokenizer has more than the %d added tokens that are read", name,
                         CLIP_ADDED_TOKENS);
    json_array_foreach(list, i, json)
    {
        const char *content = json_string_value(json_object_get(json, "content"));
        int64_t id = json_integer_value(json_object_get(json, "id"));
        int64_t beyond = u->base.vocab_size;
        int64_t known = content != NULL ? find_piece(u, content, strlen(content)) : -1;
        if (content == NULL || *content == '\0' || flag(json, "single_word") ||
            id != (known >= 0 ? known : beyond))
            return unread(name, "added token", json_object_get(json, "content"), error);
        if (known < 0) {
            u->names[beyond] = clip_arena_string(&u->memory, content, strlen(content), error);
            if (u->names[beyond] == NULL) return error->status;
            u->base.vocab_size++;
        }
        CLIP_TRY(clip_array_grow(&u->added, &u->added_capacity, u->added_count + 1,
                                 sizeof *u->added, error));
        struct added_token *token = &u->added[u->added_count++];
        token->id = (int32_t)id;
        token->normalized = flag(json, "normalized");
        token->lstrip = flag(json, "lstrip");
        token->rstrip = flag(json, "rstrip");
        CLIP_TRY(clip_points_decode(&token->content, content, strlen(content), error));
        if (!token->normalized) continue;
        CLIP_TRY(clip_normalizer_run(&u->normalizer, &token->content, error));
        if (token->content.count == 0)
            return unread(name, "added token", json_object_get(json, "content"), error);
    }
out:
    return status;
}

static clip_status read_pre_tokenizer(struct clip_unigram *u, const json_t *json, const char *name,
                                      struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_points space = {0};
    const json_t *steps = json_object_get(json, "pretokenizers"), *meta = json;
    if (clip_json_is(json, "type", "Sequence")) {
        u->at_space = json_array_size(steps) == 2 &&
                      clip_json_is(json_array_get(steps, 0), "type", "WhitespaceSplit");
        if (json_array_size(steps) != 1 && !u->at_space)
            meta = NULL;
        else
            meta = json_array_get(steps, u->at_space);
    }
    const char *replacement = json_string_value(json_object_get(meta, "replacement"));
    const json_t *scheme = json_object_get(meta, "prepend_scheme");
    const char *prepend = scheme != NULL ? json_string_value(scheme)
                          : json_is_false(json_object_get(meta, "add_prefix_space")) ? "never"
                                                                                     : "always";
    if (!clip_json_is(meta, "type", "Metaspace") || replacement == NULL)
        return unread(name, "pre_tokenizer", json_object_get(json, "type"), error);
    if (prepend == NULL || (strcmp(prepend, "always") != 0 && strcmp(prepend, "never") != 0))
        return unread(name, "prepend_scheme", scheme, error);
    u->prepend = *prepend == 'a';
    u->split = !json_is_false(json_object_get(meta, "split"));
    CLIP_TRY(clip_points_decode(&space, replacement, strlen(replacement), error));
    if (space.count != 1)
        CLIP_TRY(unread(name, "replacement", json_object_get(meta, "replacement"), error));
    u->space = space.at[0];
out:
    clip_points_release(&space);
    return status;
}

/* The template must be the text followed by one special token. */
static clip_status read_end(struct clip_unigram *u, const json_t *json, const char *name,
                            struct clip_error *error)
{
    const json_t *single = json_object_get(json, "single");
    const json_t *text = json_object_get(json_array_get(single, 0), "Sequence");
    const json_t *last = json_object_get(json_array_get(single, 1), "SpecialToken");
    const char *sequence = json_string_value(json_object_get(text, "id"));
    const char *special = json_string_value(json_object_get(last, "id"));
    if (!clip_json_is(json, "type", "TemplateProcessing") || json_array_size(single) != 2 ||
        sequence == NULL || strcmp(sequence, "A") != 0 || special == NULL)
        return unread(name, "post_processor", json_object_get(json, "type"), error);
    const json_t *known = json_object_get(json_object_get(json, "special_tokens"), special);
    const json_t *ids = json_object_get(known, "ids");
    int64_t id = json_integer_value(json_array_get(ids, 0));
    if (json_array_size(ids) != 1 || !json_is_integer(json_array_get(ids, 0)) || id < 0 ||
        id >= u->base.vocab_size)
        return unread(name, "special token", json_object_get(last, "id"), error);
    u->base.end = (int32_t)id;
    return CLIP_OK;
}

static clip_status check_sides(const json_t *root, const char *name, struct clip_error *error)
{
    static const char *const keys[] = {"truncation", "padding"};
    for (int i = 0; i < 2; i++) {
        const json_t *side = json_object_get(json_object_get(root, keys[i]), "direction");
        const char *text = json_string_value(side);
        if (text != NULL && strcmp(text, "Right") != 0) return unread(name, keys[i], side, error);
    }
    return CLIP_OK;
}

clip_status clip_unigram_read_json(struct clip_tokenizer **out, const json_t *root,
                                   const char *name, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_unigram *u;
    const json_t *model = json_object_get(root, "model");
    const json_t *added = json_object_get(root, "added_tokens");
    *out = NULL;
    if (!clip_json_is(model, "type", "Unigram")) return CLIP_OK;
    CLIP_NEW(u, 1);
    u->base.ops = &unigram_ops;
    u->base.start = -1;
    CLIP_TRY(check_sides(root, name, error));
    CLIP_TRY(
        clip_normalizer_read(&u->normalizer, json_object_get(root, "normalizer"), name, error));
    CLIP_TRY(read_model(u, model, (int64_t)json_array_size(added), name, error));
    CLIP_TRY(read_added(u, added, name, error));
    CLIP_TRY(read_pre_tokenizer(u, json_object_get(root, "pre_tokenizer"), name, error));
    CLIP_TRY(read_end(u, json_object_get(root, "post_processor"), name, error));
    *out = &u->base;
    u = NULL;
out:
    if (u != NULL) clip_tokenizer_free(&u->base);
    return status;
}

/* ---- Encoding ---- */

struct best { /* the best way to cut up to an end */
    double score;
    int64_t from; /* where its last piece begins; -1 if no piece ends here */
    int32_t id;
};

struct encoding { /* the encoding of one text */
    const struct clip_unigram *unigram;
    struct clip_ids *out;
    struct clip_buffer word;
    struct best *best; /* [word.size + 1] */
    int64_t best_capacity;
    bool normalized; /* the normalizer has been applied */
};

static void offer(struct best *best, double score, int64_t from, int32_t id)
{
    if (best->from < 0 || score > best->score) *best = (struct best){score, from, id};
}

/* A run of unknown characters: if together they are a piece, that piece; else its bytes, or the
 * unknown piece. */
static clip_status add_unknown(struct encoding *e, const char *bytes, size_t n,
                               struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const struct clip_unigram *u = e->unigram;
    int32_t id = find_piece(u, bytes, n);
    bool spelled = id < 0;
    for (size_t i = 0; i < n && spelled; i++) spelled = u->bytes[(unsigned char)bytes[i]] >= 0;
    if (!spelled) return clip_ids_add(e->out, id >= 0 ? id : u->unknown, error);
    for (size_t i = 0; i < n; i++)
        CLIP_TRY(clip_ids_add(e->out, u->bytes[(unsigned char)bytes[i]], error));
out:
    return status;
}

/* Walks back along the best way and reverses it: best[i].from becomes the end of the piece that
 * begins at i. */
static void turn(struct best *best, int64_t size)
{
    int64_t to = -1;
    int32_t id = -1;
    for (int64_t at = size; at >= 0;) {
        struct best here = best[at];
        best[at].from = to;
        best[at].id = id;
        to = at;
        id = here.id;
        at = at == 0 ? -1 : here.from;
    }
}

/* Viterbi's algorithm over the word's bytes, and then its pieces from the left. */
static clip_status encode_word(struct encoding *e, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const struct clip_unigram *u = e->unigram;
    const char *bytes = e->word.data;
    int64_t n = (int64_t)e->word.size;
    if (n == 0) return CLIP_OK;
    CLIP_TRY(clip_array_grow(&e->best, &e->best_capacity, n + 1, sizeof *e->best, error));
    for (int64_t i = 0; i <= n; i++) e->best[i] = (struct best){.from = -1};
    for (int64_t at = 0; at < n;) {
        int64_t length = 1;
        bool single = false;
        int32_t node = 0;
        while (at + length < n && (bytes[at + length] & 0xC0) == 0x80) length++;
        for (int64_t to = at; to < n && node >= 0;) {
            node = step(u, node, bytes[to++]);
            int32_t id = node < 0 ? -1 : u->id_at[node];
            if (id < 0) continue;
            offer(&e->best[to], u->scores[id] + e->best[at].score, at, id);
            single |= to - at == length;
        }
        if (!single)
            offer(&e->best[at + length], u->unknown_score + e->best[at].score, at, u->unknown);
        at += length;
    }
    turn(e->best, n);
    for (int64_t at = 0; at < n;) {
        int64_t to = e->best[at].from;
        int32_t id = e->best[at].id;
        if (id == u->unknown) {
            while (to < n && e->best[to].id == id) to = e->best[to].from;
            CLIP_TRY(add_unknown(e, bytes + at, (size_t)(to - at), error));
        } else {
            CLIP_TRY(clip_ids_add(e->out, id, error));
        }
        at = to;
    }
out:
    return status;
}

/* Metaspace: each space becomes another character, one more is put in front, and each of them
 * begins a word. */
static clip_status encode_spaced(struct encoding *e, const int32_t *at, int64_t n,
                                 struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const struct clip_unigram *u = e->unigram;
    struct clip_points word = {0};
    if (n > 0 && u->prepend && at[0] != ' ' && at[0] != u->space)
        CLIP_TRY(clip_points_add(&word, u->space, error));
    for (int64_t i = 0; i <= n; i++) {
        int32_t point = i == n ? -1 : at[i] == ' ' ? u->space : at[i];
        if (point < 0 || (u->split && point == u->space)) {
            e->word.size = 0;
            CLIP_TRY(clip_points_encode(&word, &e->word, error));
            CLIP_TRY(encode_word(e, error));
            word.count = 0;
        }
        if (point >= 0) CLIP_TRY(clip_points_add(&word, point, error));
    }
out:
    clip_points_release(&word);
    return status;
}

static clip_status encode_normalized(struct encoding *e, const int32_t *at, int64_t n,
                                     struct clip_error *error)
{
    clip_status status = CLIP_OK;
    if (!e->unigram->at_space) return encode_spaced(e, at, n, error);
    for (int64_t from = 0, i = 0; i <= n; i++) {
        if (i < n && !clip_point_is_space(at[i], false)) continue;
        CLIP_TRY(encode_spaced(e, at + from, i - from, error));
        from = i + 1;
    }
out:
    return status;
}

/* The longest added token that begins at `at`. */
static const struct added_token *find_added(const struct encoding *e, const int32_t *at, int64_t n)
{
    const struct added_token *found = NULL;
    for (int64_t i = 0; i < e->unigram->added_count; i++) {
        const struct added_token *token = &e->unigram->added[i];
        int64_t length = token->content.count;
        if (token->normalized != e->normalized || length > n) continue;
        if (found != NULL && found->content.count >= length) continue;
        if (memcmp(at, token->content.at, (size_t)length * sizeof *at) == 0) found = token;
    }
    return found;
}

static clip_status encode_between(struct encoding *e, const int32_t *at, int64_t n,
                                  struct clip_error *error);

/* Added tokens become their ids, and what lies between them goes on. */
static clip_status encode_added(struct encoding *e, const int32_t *at, int64_t n,
                                struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t done = 0;
    for (int64_t i = 0; i < n;) {
        const struct added_token *token = find_added(e, at + i, n - i);
        if (token == NULL) {
            i++;
            continue;
        }
        int64_t from = i, to = i + token->content.count;
        i = to; /* the next one is looked for from here, wherever the white space ends */
        while (token->lstrip && from > done && clip_point_is_space(at[from - 1], false)) from--;
        while (token->rstrip && to < n && clip_point_is_space(at[to], false)) to++;
        if (from > done) CLIP_TRY(encode_between(e, at + done, from - done, error));
        CLIP_TRY(clip_ids_add(e->out, token->id, error));
        if (to > done) done = to;
    }
    if (done < n) CLIP_TRY(encode_between(e, at + done, n - done, error));
out:
    return status;
}

/* Applies the normalizer, and then cuts at the tokens that are looked for after it. */
static clip_status encode_between(struct encoding *e, const int32_t *at, int64_t n,
                                  struct clip_error *error)
{
    if (e->normalized) return encode_normalized(e, at, n, error);
    clip_status status = CLIP_OK;
    struct clip_points text = {0};
    for (int64_t i = 0; i < n; i++) CLIP_TRY(clip_points_add(&text, at[i], error));
    CLIP_TRY(clip_normalizer_run(&e->unigram->normalizer, &text, error));
    e->normalized = true;
    CLIP_TRY(encode_added(e, text.at, text.count, error));
out:
    e->normalized = false;
    clip_points_release(&text);
    return status;
}

static clip_status encode(const struct clip_tokenizer *tokenizer, const char *text, size_t n,
                          enum clip_text_cleaning cleaning, struct clip_ids *out,
                          struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct encoding e = {.unigram = (const struct clip_unigram *)tokenizer, .out = out};
    struct clip_points points = {0};
    struct clip_buffer clean = {0};
    /* for the other cleanings, the normalizer does the same */
    if (cleaning == CLIP_TEXT_CANONICALIZE) {
        CLIP_TRY(clip_text_clean(text, n, cleaning, &clean, error));
        text = clean.data, n = clean.size;
    }
    CLIP_TRY(clip_points_decode(&points, text, n, error));
    CLIP_TRY(encode_added(&e, points.at, points.count, error));
    CLIP_TRY(clip_ids_add(out, tokenizer->end, error));
out:
    clip_points_release(&points);
    clip_buffer_release(&clean);
    clip_buffer_release(&e.word);
    free(e.best);
    return status;
}

/* ---- the table ---- */

static clip_status spell(const struct clip_tokenizer *tokenizer, int32_t id,
                         struct clip_buffer *out, struct clip_error *error)
{
    const struct clip_unigram *u = (const struct clip_unigram *)tokenizer;
    return clip_buffer_append(out, u->names[id], strlen(u->names[id]), error);
}

static void free_unigram(struct clip_tokenizer *tokenizer)
{
    struct clip_unigram *u = (struct clip_unigram *)tokenizer;
    for (int64_t i = 0; i < u->added_count; i++) clip_points_release(&u->added[i].content);
    clip_normalizer_release(&u->normalizer);
    clip_int_map_release(&u->trie);
    clip_arena_release(&u->memory);
    free(u->added);
    free(u->names);
    free(u->scores);
    free(u->id_at);
    free(u);
}

static const struct clip_tokenizer_ops unigram_ops = {
    .kind = "Unigram", .encode = encode, .spell = spell, .free = free_unigram};
