/* What the tokenizers' files share: the readers of each kind, and the parts they are made of. */
#ifndef CLIP_DATA_TEXT_TOKENIZER_INTERNAL_H
#define CLIP_DATA_TEXT_TOKENIZER_INTERNAL_H

#include <jansson.h>
#include <stdint.h>

#include "core/int_map.h"
#include "core/string_map.h"
#include "data/text/text_points.h"
#include "data/text/tokenizer.h"

/* ---- kinds: each reads a tokenizer.json of its own ---- */

/* *out stays NULL with CLIP_OK where the file is of another kind, and with a failure. `name` is for
 * messages. What the file asks for beyond what is known here is refused by name, so that no text is
 * cut differently in silence. */
typedef clip_status clip_tokenizer_reader(struct clip_tokenizer **out, const json_t *root,
                                          const char *name, struct clip_error *error);
clip_tokenizer_reader clip_bpe_read_json, clip_unigram_read_json;

clip_status clip_ids_add(struct clip_ids *ids, int32_t id, struct clip_error *error);

/* ---- byte-level BPE ---- */

enum {
    CLIP_BPE_BYTES = 256,       /* symbols 0..255 are bytes, 256..511 the same at a word's end */
    CLIP_BPE_BASE = 512,        /* the first merge's symbol */
    CLIP_BPE_ENDS = 2,          /* start and end of text */
    CLIP_BPE_MERGES_MAX = 48894 /* as many as CLIP uses, and open_clip reads from any file */
};

/* GPT-2's byte alphabet: each byte has a printable character, so that merges are plain text.
 * Symbol i is the i-th byte in the order '!'..'~', 0xA1..0xAC, 0xAE..0xFF, then the others, which
 * are spelled U+0100, U+0101, ... */
struct clip_alphabet {
    int32_t symbol[256];   /* of a byte */
    uint8_t byte[256];     /* of a symbol */
    char spelling[256][3]; /* of a symbol, in UTF-8, with its NUL */
};
void clip_alphabet_init(struct clip_alphabet *alphabet);

/* ---- A text's pieces ---- */
enum clip_piece_kind { CLIP_PIECE_WORD, CLIP_PIECE_START, CLIP_PIECE_END };
typedef clip_status (*clip_piece_handler)(void *context, enum clip_piece_kind kind,
                                          const char *piece, size_t n, struct clip_error *error);

/* The compiled patterns, open_clip's and transformers'; read by all threads. */
struct clip_splitter {
    struct pcre2_real_code_8 *pattern[2];
};
clip_status clip_splitter_init(struct clip_splitter *splitter, struct clip_error *error);
void clip_splitter_release(struct clip_splitter *splitter);
/* Cleans a text, cuts it into words, contractions, single digits and runs of other characters, and
 * hands each to `handler` in order. The literals that stand for the two ends come as their kind. */
clip_status clip_splitter_run(const struct clip_splitter *splitter, const char *text, size_t n,
                              enum clip_text_cleaning cleaning, clip_piece_handler handler,
                              void *context, struct clip_error *error);

struct clip_bpe {
    struct clip_tokenizer base;
    struct clip_alphabet alphabet;
    struct clip_splitter splitter;
    struct clip_int_map merges; /* a pair of symbols -> the merge's number, which is its rank */
    int32_t *made;              /* [merge_count] the symbol that a merge makes */
    int64_t merge_count;
    struct clip_buffer bytes; /* every symbol's bytes, one after another */
    int64_t *byte_offset;     /* [512 + merge_count + 1] where each begins in `bytes` */
    uint8_t *ends_word;       /* [512 + merge_count] */
};
extern const struct clip_tokenizer_ops clip_bpe_ops;
/* From CLIP's text format. */
clip_status clip_bpe_read_merges(struct clip_tokenizer **out, const char *bytes, size_t n,
                                 const char *name, struct clip_error *error);
/* CLIP_ERR_DATA where the ids of a vocab.json are not those that the merges' order gives. `added`
 * (NULL: none) are the added tokens of a tokenizer.json, which may hold the two ends. */
clip_status clip_bpe_check_vocabulary(const struct clip_tokenizer *tokenizer,
                                      const json_t *vocabulary, const json_t *added,
                                      const char *name, struct clip_error *error);

/* ---- Unigram ---- */

/* SentencePiece's precompiled table of characters. Start from {0}; release it after a failure too.
 */
struct clip_charsmap {
    struct clip_buffer bytes;
    size_t count;      /* units of the trie, which begins at bytes.data + 4 */
    const char *texts; /* [text_size] behind it, each with its NUL */
    size_t text_size;
};
/* `base64` is the value of "precompiled_charsmap"; `name` is for messages. */
clip_status clip_charsmap_read(struct clip_charsmap *map, const char *base64, const char *name,
                               struct clip_error *error);
clip_status clip_charsmap_run(const struct clip_charsmap *map, struct clip_points *text,
                              struct clip_error *error);
void clip_charsmap_release(struct clip_charsmap *map);

/* A tokenizer.json's normalizer. Start from {0}; release it after a failure too. */
struct clip_normalizer {
    struct clip_normalizer_step *steps;
    int64_t count, capacity;
};
/* NULL and null are a normalizer that leaves a text as it is. */
clip_status clip_normalizer_read(struct clip_normalizer *normalizer, const json_t *json,
                                 const char *name, struct clip_error *error);
clip_status clip_normalizer_run(const struct clip_normalizer *normalizer, struct clip_points *text,
                                struct clip_error *error);
void clip_normalizer_release(struct clip_normalizer *normalizer);

/* The key of two numbers, each 0 or more, in a map. */
static inline uint64_t clip_pair_key(int32_t left, int32_t right)
{
    return (uint64_t)left << 32 | (uint64_t)right;
}

#endif
