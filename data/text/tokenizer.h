/* CLIP's byte-level BPE tokenizer: load, encode, train (Sennrich et al. 2016; the byte alphabet of
 * GPT-2; CLIP's simple_tokenizer).
 *
 * Vocabulary: 256 byte symbols, the same 256 with </w>, one symbol a merge, then start and end of
 * text. The text format is CLIP's: a header line that is skipped, then one merge a line, two
 * symbols with a space between. As in open_clip the first 48894 merges count and what follows them
 * is not read: OpenAI's file holds five times as many. */
#ifndef CLIP_DATA_TEXT_TOKENIZER_H
#define CLIP_DATA_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"

/* What happens to a text before it is cut (data/text/text_clean.h). */
enum clip_text_cleaning { CLIP_TEXT_OPEN_CLIP, CLIP_TEXT_HUGGINGFACE, CLIP_TEXT_CANONICALIZE };
const char *clip_text_cleaning_name(int cleaning); /* "open_clip", ...; core/choice.h */

struct clip_tokenizer;

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
void clip_tokenizer_free(struct clip_tokenizer *tokenizer);

/* BPE: 512 + merges + 2; Unigram: pieces and added tokens. */
int64_t clip_tokenizer_vocab_size(const struct clip_tokenizer *tokenizer);
/* BPE: vocab_size - 2; Unigram: -1, there is none. */
int32_t clip_tokenizer_start(const struct clip_tokenizer *tokenizer);
/* BPE: vocab_size - 1; Unigram: the token of its template, </s>. */
int32_t clip_tokenizer_end(const struct clip_tokenizer *tokenizer);
/* True: a Unigram, which has no merges and no start. */
bool clip_tokenizer_is_unigram(const struct clip_tokenizer *tokenizer);
/* The text format, not gzipped: the header and the merges in use, or a Unigram's tokenizer.json
 * (what a checkpoint carries); parsing it gives the same tokenizer. Lives as long as the
 * tokenizer. */
const char *clip_tokenizer_text(const struct clip_tokenizer *tokenizer, size_t *size);

/* Appends how the vocabulary spells an id, as in CLIP's and transformers' vocab.json: the byte
 * alphabet's characters, </w> at a word's end, and <|startoftext|>, <|endoftext|>. */
clip_status clip_tokenizer_spell(const struct clip_tokenizer *tokenizer, int32_t id,
                                 struct clip_buffer *out, struct clip_error *error);
/* The id that is spelled so; -1: none. Slow: for a word now and then. */
int64_t clip_tokenizer_id(const struct clip_tokenizer *tokenizer, const char *spelling);
/* The merges are those of OpenAI's CLIP, told by their checksum. */
bool clip_tokenizer_is_clip(const struct clip_tokenizer *tokenizer);

/* From now on encoding with a context_length fills each text up with `pad`: for models that read
 * their padding (SigLIP). */
void clip_tokenizer_pad(struct clip_tokenizer *tokenizer, int32_t pad);

struct clip_ids { /* start from {0} */
    int32_t *ids;
    int64_t count, capacity;
};
void clip_ids_release(struct clip_ids *ids);

/* Appends start (but a Unigram has none), the text's tokens, end; not padded (but see
 * clip_tokenizer_pad). `context_length` > 0 cuts as CLIP does: the first context_length - 1 ids,
 * then end; *cut (may be NULL) tells. 0: no limit. Thread-safe on one tokenizer. Text must be UTF-8
 * (CLIP_ERR_DATA names the byte); text of which nothing is left gives the two ends alone, and
 * whether that is an error is the caller's choice.
 * Cleaning CLIP_TEXT_HUGGINGFACE gives the ids of transformers' CLIPTokenizer, where the literals
 * <|startoftext|> and <|endoftext|> become the ends; CLIP_TEXT_OPEN_CLIP those of open_clip's
 * SimpleTokenizer with <start_of_text> and <end_of_text> (data/text/text_clean.h says what of ftfy
 * is not there), CLIP_TEXT_CANONICALIZE the same with clean="canonicalize". A Unigram gives the ids
 * of the tokenizers library, of the text as it is or canonicalized; its own normalizer does the rest,
 * so that the other two cleanings do nothing there. */
clip_status clip_tokenizer_encode(const struct clip_tokenizer *tokenizer, const char *text,
                                  size_t n, enum clip_text_cleaning cleaning,
                                  int64_t context_length, struct clip_ids *out, bool *cut,
                                  struct clip_error *error);

/* Appends the text of `count` ids, a space behind each word, the two ends left out. Ids that hold
 * part of a character give bytes that are not UTF-8. An id outside the vocabulary is CLIP_ERR_DATA.
 */
clip_status clip_tokenizer_decode(const struct clip_tokenizer *tokenizer, const int32_t *ids,
                                  int64_t count, struct clip_buffer *out, struct clip_error *error);

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
