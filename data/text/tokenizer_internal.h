/* What the tokenizers' files share: the readers of each kind, and their parts. */
#ifndef CLIP_DATA_TEXT_TOKENIZER_INTERNAL_H
#define CLIP_DATA_TEXT_TOKENIZER_INTERNAL_H

#include <jansson.h>
#include <stdint.h>

#include "core/int_map.h"
#include "core/string_map.h"
#include "data/text/text_points.h"
#include "data/text/tokenizer.h"

/* ---- kinds: each reads a tokenizer.json of its own ---- */

/* Reads a file. *out stays NULL with CLIP_OK if the file is of another kind, and after a failure.
 * `name` is for messages. Anything unknown that the file asks for is refused by name, so that no
 * text is silently cut in another way. */
typedef clip_status clip_tokenizer_reader(struct clip_tokenizer **out, const json_t *root,
                                          const char *name, struct clip_error *error);
clip_tokenizer_reader clip_bpe_read_json, clip_unigram_read_json;

clip_status clip_ids_add(struct clip_ids *ids, int32_t id, struct clip_error *error);

/* ---- byte-level BPE ---- */

enum {
    CLIP_BPE_BYTES = 256, /* symbols 0..255 are bytes, 256..511 the same at the end of a word */
    CLIP_BPE_BASE = 512,  /* the symbol of the first merge */
    CLIP_BPE_ENDS = 2,    /* start and end of text */
    CLIP_BPE_MERGES_MAX = 48894 /* as many as CLIP uses, and as open_clip reads from any file */
};

/* GPT-2's byte alphabet: each byte has a printable character, so merges are plain text. Symbol i is
 * the i-th byte in the order '!'..'~', 0xA1..0xAC, 0xAE..0xFF, then the others, which are spelled
 * U+0100, U+0101, ... */
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

/* The compiled patterns of open_clip and transformers; all threads read them. */
struct clip_splitter {
    struct pcre2_real_code_8 *pattern[2];
};
clip_status clip_splitter_init(struct clip_splitter *splitter, struct clip_error *error);
void clip_splitter_release(struct clip_splitter *splitter);
/* Cleans a text, cuts it into words, contractions, single digits and runs of other characters, and
 * calls `handler` for each of them in order. Literals that stand for the two ends are passed as
 * their kind. */
clip_status clip_splitter_run(const struct clip_splitter *splitter, const char *text, size_t n,
                              enum clip_text_cleaning cleaning, clip_piece_handler handler,
                              void *context, struct clip_error *error);

struct clip_bpe {
    struct clip_tokenizer base;
    struct clip_alphabet alphabet;
    struct clip_splitter splitter;
    /* a pair of symbols -> the number of its merge, which is its rank */
    struct clip_int_map merges;
    int32_t *made; /* [merge_count] the symbol that a merge makes */
    int64_t merge_count;
    struct clip_buffer bytes; /* the bytes of all symbols, one after another */
    int64_t *byte_offset;     /* [512 + merge_count + 1] where each symbol begins in `bytes` */
    uint8_t *ends_word;       /* [512 + merge_count] */
};
extern const struct clip_tokenizer_ops clip_bpe_ops;
/* Reads CLIP's text format. */
clip_status clip_bpe_read_merges(struct clip_tokenizer **out, const char *bytes, size_t n,
                                 const char *name, struct clip_error *error);
/* CLIP_ERR_DATA if the ids of a vocab.json are not those that follow from the order of the merges.
 * `added` (NULL: none) are the added tokens of a tokenizer.json, which may include the two ends. */
clip_status clip_bpe_check_vocabulary(const struct clip_tokenizer *tokenizer,
                                      const json_t *vocabulary, const json_t *added,
                                      const char *name, struct clip_error *error);

/* ---- Unigram ---- */

/* SentencePiece's precompiled table of characters. Start from {0}; release it after a failure too.
 */
struct clip_charsmap {
    struct clip_buffer bytes;
    size_t count;      /* the number of units of the trie, which begins at bytes.data + 4 */
    const char *texts; /* [text_size] behind the trie, each with its NUL */
    size_t text_size;
};
/* Reads the value of "precompiled_charsmap"; `name` is for messages. */
clip_status clip_charsmap_read(struct clip_charsmap *map, const char *base64, const char *name,
                               struct clip_error *error);
/* It ends early where the text has become longer than `most` characters. */
clip_status clip_charsmap_run(const struct clip_charsmap *map, struct clip_points *text,
                              int64_t most, struct clip_error *error);
void clip_charsmap_release(struct clip_charsmap *map);

/* A tokenizer.json's normalizer. Start from {0}; release it after a failure too. Steps that each
 * lengthen a text multiply, so there is a bound: a normalized text has at most
 * CLIP_NORMALIZED_TIMES the characters of the text, or CLIP_NORMALIZED_LEAST (Unicode's own NFKC
 * makes 18 of one). */
enum { CLIP_NORMALIZER_STEPS = 64, CLIP_NORMALIZED_TIMES = 32, CLIP_NORMALIZED_LEAST = 1 << 16 };
/* Each place of a text is compared with all added tokens. */
enum { CLIP_ADDED_TOKENS = 4096 };
struct clip_normalizer {
    char *name; /* of the tokenizer, for messages */
    struct clip_normalizer_step *steps;
    int64_t count, capacity;
};
/* NULL and null give a normalizer that leaves a text as it is. */
clip_status clip_normalizer_read(struct clip_normalizer *normalizer, const json_t *json,
                                 const char *name, struct clip_error *error);
clip_status clip_normalizer_run(const struct clip_normalizer *normalizer, struct clip_points *text,
                                struct clip_error *error);
void clip_normalizer_release(struct clip_normalizer *normalizer);

/* The key of two numbers, each of them 0 or more, in a map. */
static inline uint64_t clip_pair_key(int32_t left, int32_t right)
{
    return (uint64_t)left << 32 | (uint64_t)right;
}

#endif
