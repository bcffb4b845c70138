/* Ids back to text, by how the vocabulary spells them. */
#ifndef CLIP_TESTS_TOKENS_H
#define CLIP_TESTS_TOKENS_H

#include "data/text/tokenizer.h"

/* Appends the text of the ids, the two ends left out: a BPE's bytes with a space behind each word's
 * end, a Unigram's pieces with a space for each U+2581. */
void test_decode(const struct clip_tokenizer *tokenizer, const int32_t *ids, int64_t count,
                 struct clip_buffer *out);

#endif
