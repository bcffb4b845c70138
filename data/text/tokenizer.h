/* Tokenizers: text to ids. Each kind is one file that gives a table of functions
 * (struct clip_tokenizer_ops); who holds a tokenizer asks the table and the fields, never the kind.
 *
 *   byte-level BPE   tokenizer_bpe.c, CLIP's (Sennrich et al. 2016; GPT-2's byte alphabet). Its
 *                    vocabulary: 256 byte symbols, the same 256 with </w>, one symbol per merge,
 *                    then start and end of text
 *   Unigram          tokenizer_unigram.c, SigLIP's (Kudo 2018). Its texts have no start
 *
 * Which kind a file holds is decided in tokenizer_file.c alone. CLIP's text format is a header line
 * that is skipped, then one merge per line, two symbols with a space between. As in open_clip the
 * first 48894 merges count and what follows them is not read: OpenAI's file holds five times as
 * many. A tokenizer.json is Hugging Face's. */
#ifndef CLIP_DATA_TEXT_TOKENIZER_H
#define CLIP_DATA_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"

/* What happens to a text before it is cut (data/text/text_clean.h). */
enum clip_text_cleaning { CLIP_TEXT_OPEN_CLIP, CLIP_TEXT_HUGGINGFACE, CLIP_TEXT_CANONICALIZE };
const char *clip_text_cleaning_name(int cleaning); /* "open_clip", ...; core/choice.h */

struct clip_ids { /* start from {0} */
    int32_t *ids;
    int64_t count, capacity;
};
void clip_ids_release(struct clip_ids *ids);

struct clip_tokenizer { /* read by all, changed by clip_tokenizer_pad alone */
    const struct clip_tokenizer_ops *ops;
    int64_t vocab_size;
    int32_t start, end; /* the ids around each text; start -1: there is none */
    bool pads;          /* texts are filled up with... */
    int32_t pad;        /* ...this id */
    /* The tokenizer as text, not gzipped, which a checkpoint carries; parsing it gives the same
     * one. CLIP's text format (the header and the merges in use) where `merges` says so, else a
     * tokenizer.json. */
    struct clip_buffer text;
    bool merges;
};

struct clip_tokenizer_ops {
    const char *kind; /* "BPE": for messages */
    /* Appends all ids of a text, its start and end among them. Thread-safe. */
    clip_status (*encode)(const struct clip_tokenizer *tokenizer, const char *text, size_t n,
                          enum clip_text_cleaning cleaning, struct clip_ids *out,
                          struct clip_error *error);
    /* Appends how the vocabulary spells an id of it. */
    clip_status (*spell)(const struct clip_tokenizer *tokenizer, int32_t id,
                         struct clip_buffer *out, struct clip_error *error);
    void (*free)(struct clip_tokenizer *tokenizer); /* all but `text` */
};

/* ---- files ---- */

/* TOKENIZER: a path, or "clip": bpe_simple_vocab_16e6.txt.gz looked for in `beside` (a folder, may
 * be NULL), then $CLIP_BPE (the file or its folder), then PREFIX/share/clip. Files are CLIP's text
 * format, gzipped or not, at most 64 MiB unpacked. "clip" must hold all 48894 merges (vocabulary
 * 49408). */
clip_status clip_tokenizer_open(struct clip_tokenizer **out, const char *tokenizer,
                                const char *beside, struct clip_error *error);
/* From the text format in memory; `name` is for messages. A line that is no merge of two symbols
 * made before is refused, a merge that stands twice too. Where two merges make the same text, the
 * later one's id is used, as in open_clip. */
clip_status clip_tokenizer_parse(struct clip_tokenizer **out, const char *bytes, size_t n,
                                 const char *name, struct clip_error *error);
/* From a tokenizer.json of Hugging Face's: CLIP's byte-level BPE with every part as CLIP's, or a
 * Unigram as SigLIP's (Kudo 2018), whose texts have no start and are cleaned as the file says. What
 * a file asks for beyond that is refused by name. clip_tokenizer_parse (and so
 * clip_tokenizer_open) takes such a file too, which begins with '{'. */
clip_status clip_tokenizer_parse_json(struct clip_tokenizer **out, const char *bytes, size_t n,
                                      const char *name, struct clip_error *error);
/* What transformers finds beside a model: folder/tokenizer.json, else vocab.json and merges.txt;
 * *out is NULL where there is neither. */
clip_status clip_tokenizer_open_folder(struct clip_tokenizer **out, const char *folder,
                                       struct clip_error *error);
/* *pad = the id of the "pad_token" that folder/tokenizer_config.json or special_tokens_map.json
 * names; left as it is where neither does. */
clip_status clip_tokenizer_read_pad(const struct clip_tokenizer *tokenizer, const char *folder,
                                    int64_t *pad, struct clip_error *error);
void clip_tokenizer_free(struct clip_tokenizer *tokenizer); /* NULL is fine */

/* ---- the vocabulary ---- */

/* Appends how the vocabulary spells an id, as in CLIP's and transformers' vocab.json: the byte
 * alphabet's characters, </w> at a word's end, and <|startoftext|>, <|endoftext|>. */
clip_status clip_tokenizer_spell(const struct clip_tokenizer *tokenizer, int32_t id,
                                 struct clip_buffer *out, struct clip_error *error);
/* The id that is spelled so; -1: none. Slow: for a word now and then. */
int64_t clip_tokenizer_id(const struct clip_tokenizer *tokenizer, const char *spelling);
/* Is their text the same, and so every id? */
bool clip_tokenizer_equal(const struct clip_tokenizer *a, const struct clip_tokenizer *b);
/* The merges are those of OpenAI's CLIP, told by their checksum. */
bool clip_tokenizer_is_clip(const struct clip_tokenizer *tokenizer);

/* ---- encoding ---- */

/* From now on encoding with a context_length fills each text up with `pad`: for models that read
 * their padding (SigLIP). */
void clip_tokenizer_pad(struct clip_tokenizer *tokenizer, int32_t pad);

struct clip_encode_options {
    enum clip_text_cleaning cleaning;
    int64_t context_length; /* > 0 cuts as CLIP does: the first context_length - 1 ids, then end */
};
/* Appends the text's start where there is one, its tokens, its end; not padded (but see
 * clip_tokenizer_pad). *cut (may be NULL) tells whether the text was cut. Thread-safe on one
 * tokenizer. Text must be UTF-8 (CLIP_ERR_DATA names the byte); text of which nothing is left gives
 * the two ends alone, and whether that is an error is the caller's choice.
 * Cleaning CLIP_TEXT_HUGGINGFACE gives the ids of transformers' CLIPTokenizer, where the literals
 * <|startoftext|> and <|endoftext|> become the ends; CLIP_TEXT_OPEN_CLIP those of open_clip's
 * SimpleTokenizer with <start_of_text> and <end_of_text> (data/text/text_clean.h says what of ftfy
 * is not there), CLIP_TEXT_CANONICALIZE the same with clean="canonicalize". A Unigram gives the ids
 * of the tokenizers library, of the text as it is or canonicalized; its own normalizer does the
 * rest, so that the other two cleanings do nothing there. */
clip_status clip_tokenizer_encode(const struct clip_tokenizer *tokenizer, const char *text,
                                  size_t n, const struct clip_encode_options *options,
                                  struct clip_ids *out, bool *cut, struct clip_error *error);

/* Do these ids, which encoding one text gave, say nothing: are they its start and end alone, and
 * padding? */
bool clip_tokenizer_is_empty(const struct clip_tokenizer *tokenizer, const int32_t *ids,
                             int64_t count);

/* ---- training ---- */

/* Learns merges from captions until the vocabulary has vocab_size entries, 514 to 49408, or no pair
 * occurs twice, and writes the text format to `out`. Deterministic: the pair that occurs most is
 * merged first, ties go to the pair whose symbols come first in the vocabulary. A pair whose text
 * another merge made already is left alone, so every id is in use. The format ends without a line
 * feed, because open_clip would count an empty merge behind it. */
clip_status clip_tokenizer_train(const char *const *texts, const size_t *sizes, int64_t count,
                                 int64_t vocab_size, enum clip_text_cleaning cleaning,
                                 struct clip_buffer *out, struct clip_error *error);

/* Writes the text format to a file, gzipped where its name ends in .gz (which is the only form that
 * open_clip reads), atomically; the same bytes for the same text. */
clip_status clip_tokenizer_save(const char *path, const char *text, size_t size,
                                struct clip_error *error);

#endif
