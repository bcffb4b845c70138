#include "tests/tokens.h"

#include <string.h>

#include "data/text/tokenizer_internal.h"
#include "tests/support.h"

static void append(struct clip_buffer *out, const void *bytes, size_t n)
{
    struct clip_error error;
    test_ok(clip_buffer_append(out, bytes, n, &error), &error);
}

/* The character that a spelling has at `at`: its number, *n its bytes. None is beyond U+07FF. */
static int point_at(const char *at, size_t *n)
{
    unsigned char first = (unsigned char)at[0], second = (unsigned char)at[1];
    *n = first < 0x80 ? 1 : 2;
    return first < 0x80 ? first : (first & 0x1F) << 6 | (second & 0x3F);
}

static void decode_bpe(const uint8_t byte_of[0x800], const char *spelling, size_t n,
                       struct clip_buffer *out)
{
    static const char word_end[] = "</w>";
    bool ends = n > strlen(word_end) && strcmp(spelling + n - strlen(word_end), word_end) == 0;
    if (ends) n -= strlen(word_end);
    for (size_t at = 0, length; at < n; at += length)
        append(out, &byte_of[point_at(spelling + at, &length)], 1);
    if (ends) append(out, " ", 1);
}

static void decode_pieces(const char *spelling, struct clip_buffer *out)
{
    static const char space[] = "\xE2\x96\x81";
    for (const char *at = spelling; *at != '\0';) {
        bool is_space = strncmp(at, space, strlen(space)) == 0;
        append(out, is_space ? " " : at, 1);
        at += is_space ? strlen(space) : 1;
    }
}

void test_decode(const struct clip_tokenizer *tokenizer, const int32_t *ids, int64_t count,
                 struct clip_buffer *out)
{
    struct clip_error error;
    struct clip_buffer spelling = {0};
    struct clip_alphabet alphabet;
    uint8_t byte_of[0x800] = {0};
    size_t length;
    clip_alphabet_init(&alphabet);
    for (int symbol = 0; symbol < CLIP_BPE_BYTES; symbol++)
        byte_of[point_at(alphabet.spelling[symbol], &length)] = alphabet.byte[symbol];
    for (int64_t i = 0; i < count; i++) {
        if (ids[i] == tokenizer->start || ids[i] == tokenizer->end) continue;
        spelling.size = 0;
        test_ok(clip_tokenizer_spell(tokenizer, ids[i], &spelling, &error), &error);
        if (tokenizer->merges)
            decode_bpe(byte_of, spelling.data, spelling.size, out);
        else
            decode_pieces(spelling.data, out);
    }
    clip_buffer_release(&spelling);
}
