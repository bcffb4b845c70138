/* Tokenizers: text to token ids. Each kind has one file with a table of functions (struct
 * clip_tokenizer_ops). Code that has a tokenizer uses the table and the fields, and never asks for
 * the kind.
 *
 *   byte-level BPE   tokenizer_bpe.c, CLIP's (Sennrich et al. 2016; GPT-2's byte alphabet). Its
 *                    vocabulary: 256 byte symbols, the same 256 with </w>, one symbol per merge,
 *                    then start and end of text
 *   Unigram          tokenizer_unigram.c, SigLIP's (Kudo 2018). Its texts have no start
 *
 * Only tokenizer_file.c decides which kind a file holds. CLIP's text format is a header line, which
 * is skipped, and then one merge per line: two symbols with a space between. As in open_clip, the
 * first 48894 merges count and what follows is not read; OpenAI's file has five times as many. A
 * tokenizer.json is Hugging Face's. */
#ifndef CLIP_DATA_TEXT_TOKENIZER_H
#define CLIP_DATA_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"

/* What is done to a text before it is cut (data/text/text_clean.h). */
enum clip_text_cleaning { CLIP_TEXT_OPEN_CLIP, CLIP_TEXT_HUGGINGFACE, CLIP_TEXT_CANONICALIZE };
const char *clip_text_cleaning_name(int cleaning); /* "open_clip", ...; core/choice.h */

struct clip_ids { /* start from {0} */
    int32_t *ids;
    int64_t count, capacity;
};
void clip_ids_release(struct clip_ids *ids);

struct clip_tokenizer { /* all may read it; only clip_tokenizer_pad changes it */
    const struct clip_tokenizer_ops *ops;
    int64_t vocab_size;
    int32_t start, end; /* the ids around each text; start is -1 if there is none */
    bool pads;          /* texts are padded with... */
    int32_t pad;        /* ...this id */
    /* The tokenizer as text, not gzipped, which a checkpoint carries; parsing it gives the same
     * tokenizer. If `merges` is set, it is CLIP's text format (the header and the merges in use),
     * else a tokenizer.json. */
    struct clip_buffer text;
    bool merges;
};

struct clip_tokenizer_ops {
    const char *kind; /* "BPE", for messages */
    /* Appends all ids of a text, with its start and end. Thread-safe. */
    clip_status (*encode)(const struct clip_tokenizer *tokenizer, const char *text, size_t n,
                          enum clip_text_cleaning cleaning, struct clip_ids *out,
                          struct clip_error *error);
    /* Appends how the vocabulary spells one of its ids. */
    clip_status (*spell)(const struct clip_tokenizer *tokenizer, int32_t id,
                         struct clip_buffer *out, struct clip_error *error);
    void (*free)(struct clip_tokenizer *tokenizer); /* frees all but `text` */
};

/* ---- files ---- */

/* Opens a tokenizer by a path, or by the name "clip": that is bpe_simple_vocab_16e6.txt.gz, which
 * is looked for in `beside` (a folder, may be NULL), then in $CLIP_BPE (the file or its folder),
 * then in PREFIX/share/clip. Files have CLIP's text format, gzipped or not, and at most 64 MiB
 * unpacked. "clip" must hold all 48894 merges (a vocabulary of 49408). */
clip_status clip_tokenizer_open(struct clip_tokenizer **out, const char *tokenizer,
                                const char *beside, struct clip_error *error);
/* Reads a tokenizer from memory; `name` is for messages. Bytes that begin with '{' are a
 * tokenizer.json of Hugging Face's: CLIP's byte-level BPE, if every part is as in CLIP's, or a
 * Unigram like SigLIP's (Kudo 2018), whose texts have no start and are cleaned as the file says.
 * Anything else that such a file asks for is refused by name, and so are more than 4096 added
 * tokens or 64 steps of its normalizer; a text that they would make more than 32 times as long (and
 * longer than 65536 characters) is CLIP_ERR_DATA when it is encoded. Other bytes are CLIP's text
 * format: a line that is no merge of two existing symbols is refused, and so is a merge that occurs
 * twice. If two merges make the same text, the later one's id is used, as in open_clip. */
clip_status clip_tokenizer_parse(struct clip_tokenizer **out, const char *bytes, size_t n,
                                 const char *name, struct clip_error *error);
/* Opens the tokenizer that transformers finds beside a model: folder/tokenizer.json, else
 * vocab.json and merges.txt. *out is NULL if there is neither. */
clip_status clip_tokenizer_open_folder(struct clip_tokenizer **out, const char *folder,
                                       struct clip_error *error);
/* *pad becomes the id of the "pad_token" that folder/tokenizer_config.json or
 * special_tokens_map.json names; it is not changed if neither does. */
clip_status clip_tokenizer_read_pad(const struct clip_tokenizer *tokenizer, const char *folder,
                                    int64_t *pad, struct clip_error *error);
void clip_tokenizer_free(struct clip_tokenizer *tokenizer); /* accepts NULL */

/* ---- the vocabulary ---- */

/* Appends how the vocabulary spells an id, as in CLIP's and transformers' vocab.json: the
 * characters of the byte alphabet, </w> at the end of a word, and <|startoftext|>,
 * <|endoftext|>. */
clip_status clip_tokenizer_spell(const struct clip_tokenizer *tokenizer, int32_t id,
                                 struct clip_buffer *out, struct clip_error *error);
/* The id with this spelling; -1 if there is none. It is slow, and meant for an occasional call. */
int64_t clip_tokenizer_id(const struct clip_tokenizer *tokenizer, const char *spelling);
/* Do they have the same text, and so the same ids? */
bool clip_tokenizer_equal(const struct clip_tokenizer *a, const struct clip_tokenizer *b);
/* Are the merges those of OpenAI's CLIP? Their checksum tells. */
bool clip_tokenizer_is_clip(const struct clip_tokenizer *tokenizer);

/* ---- encoding ---- */

/* From now on, encoding with a context_length pads each text with `pad`: for models that read their
 * padding (SigLIP). */
void clip_tokenizer_pad(struct clip_tokenizer *tokenizer, int32_t pad);

struct clip_encode_options {
    enum clip_text_cleaning cleaning;
    /* > 0: cut as CLIP does, the first context_length - 1 ids and then the end */
    int64_t context_length;
};
/* Appends the text's start, if there is one, its tokens, and its end, without padding (but see
 * clip_tokenizer_pad). *cut (may be NULL) tells whether the text was cut. Several threads may use
 * one tokenizer. Text must be UTF-8 (CLIP_ERR_DATA names the byte). Text of which nothing is left
 * gives only the two ends; the caller decides whether that is an error.
 *
 * With cleaning CLIP_TEXT_HUGGINGFACE the ids are those of transformers' CLIPTokenizer, where the
 * literals <|startoftext|> and <|endoftext|> become the ends. With CLIP_TEXT_OPEN_CLIP they are
 * those of open_clip's SimpleTokenizer with <start_of_text> and <end_of_text>
 * (data/text/text_clean.h says what of ftfy is missing), and with CLIP_TEXT_CANONICALIZE the same
 * with clean="canonicalize". A Unigram gives the ids of the tokenizers library, of the text as it
 * is or canonicalized; its own normalizer does the rest, so the other two cleanings do nothing
 * there. */
clip_status clip_tokenizer_encode(const struct clip_tokenizer *tokenizer, const char *text,
                                  size_t n, const struct clip_encode_options *options,
                                  struct clip_ids *out, bool *cut, struct clip_error *error);

/* Are these ids, which came from encoding one text, only its start and end, and padding? */
bool clip_tokenizer_is_empty(const struct clip_tokenizer *tokenizer, const int32_t *ids,
                             int64_t count);

/* ---- training ---- */

/* Learns merges from captions, until the vocabulary has vocab_size entries (514 to 49408) or no
 * pair occurs twice, and writes the text format to `out`. It is deterministic: the most frequent
 * pair is merged first, and among equals the one whose symbols come first in the vocabulary. A pair
 * whose text another merge has already made is left out, so every id is in use. The text does not
 * end with a line feed, because open_clip would count an empty merge after it. */
clip_status clip_tokenizer_train(const char *const *texts, const size_t *sizes, int64_t count,
                                 int64_t vocab_size, enum clip_text_cleaning cleaning,
                                 struct clip_buffer *out, struct clip_error *error);

/* Writes the text format to a file, atomically, and gzipped if its name ends in .gz (open_clip
 * reads only that form). The same text gives the same bytes. */
clip_status clip_tokenizer_save(const char *path, const char *text, size_t size,
                                struct clip_error *error);

#endif
