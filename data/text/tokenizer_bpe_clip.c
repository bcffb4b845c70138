/* CLIP's text format: a header line, then one merge per line, two symbols with a space between. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "core/count.h"
#include "data/text/text_points.h"
#include "data/text/tokenizer_internal.h"

enum { HEADER_MAX = 1000 }; /* bytes */
static const char word_end[] = "</w>";

#define CLIP_MERGES_CRC32 0x3fc60dfdu /* of the first 48894 merges of bpe_simple_vocab_16e6.txt */

struct line {
    const char *text;
    size_t n;
    int64_t number; /* from 1 */
};

/* What reading keeps until the tables are complete. */
struct parser {
    struct clip_bpe *bpe;
    /* spelling -> symbol; a later merge of the same text replaces an earlier one */
    struct clip_string_map symbols;
    int32_t *left, *right; /* [merge] the two symbols, as they were when the line was read */
    int64_t left_capacity, right_capacity;
    int32_t *again; /* [symbol] the later symbol with the same text, or itself */
    int64_t again_capacity, offset_capacity, end_capacity, made_capacity;
    struct clip_buffer spelling;
    const char *name;
};

/* The next line without its end; false after the last one. An empty line at the very end does not
 * count. */
static bool next_line(const char *bytes, size_t n, size_t *at, struct line *line)
{
    if (*at >= n) return false;
    const char *start = bytes + *at;
    const char *end = memchr(start, '\n', n - *at);
    line->n = end != NULL ? (size_t)(end - start) : n - *at;
    *at += line->n + 1;
    if (line->n > 0 && start[line->n - 1] == '\r') line->n--;
    line->text = start;
    line->number++;
    return true;
}

/* Up to 40 characters of a line, for a sentence; what is not printable ASCII becomes '?'. */
static const char *shown(char out[48], const char *text, size_t n)
{
    size_t used = 0;
    for (; used < n && used < 40; used++)
        out[used] = isprint((unsigned char)text[used]) && text[used] != '"' ? text[used] : '?';
    strcpy(out + used, used < n ? "..." : "");
    return out;
}

static clip_status refuse(const struct parser *parser, const struct line *line, const char *why,
                          struct clip_error *error)
{
    char text[48];
    return clip_fail(error, CLIP_ERR_FORMAT, "%s:%lld: \"%s\" %s", parser->name,
                     (long long)line->number, shown(text, line->text, line->n), why);
}

/* Appends a symbol: its bytes are those of `left` and then those of `right`. */
static clip_status add_bytes(struct parser *parser, int32_t left, int32_t right,
                             struct clip_error *error)
{
    struct clip_bpe *bpe = parser->bpe;
    clip_status status = CLIP_OK;
    int64_t symbol = CLIP_BPE_BASE + bpe->merge_count;
    CLIP_TRY(clip_array_grow(&bpe->byte_offset, &parser->offset_capacity, symbol + 2,
                             sizeof *bpe->byte_offset, error));
    CLIP_TRY(clip_array_grow(&bpe->ends_word, &parser->end_capacity, symbol + 1,
                             sizeof *bpe->ends_word, error));
    CLIP_TRY(clip_array_grow(&parser->again, &parser->again_capacity, symbol + 1,
                             sizeof *parser->again, error));
    const int32_t parts[2] = {left, right};
    for (int i = 0; i < 2; i++) {
        size_t from = (size_t)bpe->byte_offset[parts[i]];
        size_t n = (size_t)bpe->byte_offset[parts[i] + 1] - from;
        char chunk[256]; /* appending may move the buffer that it copies from */
        for (size_t done = 0; done < n;) {
            size_t step = n - done < sizeof chunk ? n - done : sizeof chunk;
            memcpy(chunk, bpe->bytes.data + from + done, step);
            CLIP_TRY(clip_buffer_append(&bpe->bytes, chunk, step, error));
            done += step;
        }
    }
    bpe->byte_offset[symbol + 1] = (int64_t)bpe->bytes.size;
    bpe->ends_word[symbol] = bpe->ends_word[right];
    parser->again[symbol] = (int32_t)symbol;
out:
    return status;
}

static clip_status add_base(struct parser *parser, struct clip_error *error)
{
    struct clip_bpe *bpe = parser->bpe;
    clip_status status = CLIP_OK;
    CLIP_TRY(clip_array_grow(&bpe->byte_offset, &parser->offset_capacity, CLIP_BPE_BASE + 1,
                             sizeof *bpe->byte_offset, error));
    CLIP_TRY(clip_array_grow(&bpe->ends_word, &parser->end_capacity, CLIP_BPE_BASE,
                             sizeof *bpe->ends_word, error));
    CLIP_TRY(clip_array_grow(&parser->again, &parser->again_capacity, CLIP_BPE_BASE,
                             sizeof *parser->again, error));
    for (int symbol = 0; symbol < CLIP_BPE_BASE; symbol++) {
        int base = symbol % CLIP_BPE_BYTES;
        bool ends = symbol >= CLIP_BPE_BYTES;
        char spelling[8];
        int n = snprintf(spelling, sizeof spelling, "%s%s", bpe->alphabet.spelling[base],
                         ends ? word_end : "");
        struct clip_string_entry *entry;
        CLIP_TRY(clip_string_map_add(&parser->symbols, spelling, (size_t)n, symbol, &entry, error));
        CLIP_TRY(clip_buffer_append(&bpe->bytes, &bpe->alphabet.byte[base], 1, error));
        bpe->byte_offset[symbol + 1] = (int64_t)bpe->bytes.size;
        bpe->ends_word[symbol] = ends;
        parser->again[symbol] = symbol;
    }
out:
    return status;
}

/* Reads the two symbols of a merge line; -1 if one is no symbol. false: the line is not two
 * words. */
static bool read_pair(const struct parser *parser, const struct line *line, int32_t pair[2])
{
    const char *space = memchr(line->text, ' ', line->n);
    if (space == NULL || space == line->text || space + 1 == line->text + line->n) return false;
    size_t first = (size_t)(space - line->text), second = line->n - first - 1;
    if (memchr(space + 1, ' ', second) != NULL) return false;
    pair[0] = (int32_t)clip_string_map_find(&parser->symbols, line->text, first);
    pair[1] = (int32_t)clip_string_map_find(&parser->symbols, space + 1, second);
    return true;
}

static clip_status read_merge(struct parser *parser, const struct line *line,
                              struct clip_error *error)
{
    struct clip_bpe *bpe = parser->bpe;
    clip_status status = CLIP_OK;
    int32_t pair[2];
    if (!read_pair(parser, line, pair)) {
        return refuse(parser, line,
                      "is not a merge, two symbols with one space between; the file "
                      "is damaged or no tokenizer in CLIP's text format",
                      error);
    }
    if (pair[0] < 0 || pair[1] < 0) {
        return refuse(
            parser, line,
            pair[0] < 0 ? "begins with a symbol that no line above makes; the file is damaged"
                        : "ends with a symbol that no line above makes; the file is cut or damaged",
            error);
    }
    if (bpe->ends_word[pair[0]]) {
        return refuse(parser, line, "joins something behind a word's end; the file is damaged",
                      error);
    }
    CLIP_TRY(clip_array_grow(&parser->left, &parser->left_capacity, bpe->merge_count + 1,
                             sizeof *parser->left, error));
    CLIP_TRY(clip_array_grow(&parser->right, &parser->right_capacity, bpe->merge_count + 1,
                             sizeof *parser->right, error));
    parser->left[bpe->merge_count] = pair[0];
    parser->right[bpe->merge_count] = pair[1];
    CLIP_TRY(add_bytes(parser, pair[0], pair[1], error));

    size_t first = (size_t)((const char *)memchr(line->text, ' ', line->n) - line->text);
    parser->spelling.size = 0;
    CLIP_TRY(clip_buffer_append(&parser->spelling, line->text, first, error));
    CLIP_TRY(
        clip_buffer_append(&parser->spelling, line->text + first + 1, line->n - first - 1, error));
    struct clip_string_entry *entry;
    int32_t symbol = CLIP_BPE_BASE + (int32_t)bpe->merge_count;
    CLIP_TRY(clip_string_map_add(&parser->symbols, parser->spelling.data, parser->spelling.size,
                                 symbol, &entry, error));
    parser->again[entry->value] = symbol;
    entry->value = symbol;
    bpe->merge_count++;
    CLIP_TRY(clip_buffer_append(&bpe->base.text, "\n", 1, error));
    CLIP_TRY(clip_buffer_append(&bpe->base.text, line->text, line->n, error));
out:
    return status;
}

static clip_status build_tables(struct parser *parser, struct clip_error *error)
{
    struct clip_bpe *bpe = parser->bpe;
    clip_status status = CLIP_OK;
    CLIP_TRY(clip_array_grow(&bpe->made, &parser->made_capacity, bpe->merge_count,
                             sizeof *bpe->made, error));
    /* Finds the symbol that finally has a text: like open_clip's dictionary, the last of equal
     * ones. It goes backwards, so that what again[s] points to is already final. */
    for (int64_t s = CLIP_BPE_BASE + bpe->merge_count - 1; s >= 0; s--)
        parser->again[s] = parser->again[parser->again[s]];
    for (int64_t m = 0; m < bpe->merge_count; m++) {
        int32_t left = parser->again[parser->left[m]], right = parser->again[parser->right[m]];
        int64_t same = clip_int_map_find(&bpe->merges, clip_pair_key(left, right));
        if (same >= 0) {
            return clip_fail(error, CLIP_ERR_FORMAT,
                             "%s:%lld: the same merge stands in line %lld already; the file is "
                             "damaged",
                             parser->name, (long long)m + 2, (long long)same + 2);
        }
        CLIP_TRY(clip_int_map_put(&bpe->merges, clip_pair_key(left, right), m, error));
        bpe->made[m] = parser->again[CLIP_BPE_BASE + m];
    }
out:
    return status;
}

/* The header is whatever open_clip skips: any first line of text that is no merge. */
static clip_status check_header(const struct parser *parser, const struct line *header,
                                struct clip_error *error)
{
    int32_t pair[2];
    struct clip_points points = {0};
    bool text = header->n <= HEADER_MAX &&
                clip_points_decode(&points, header->text, header->n, error) == CLIP_OK;
    for (int64_t i = 0; text && i < points.count; i++) text = points.at[i] >= 0x20;
    clip_points_release(&points);
    if (!text) {
        return refuse(parser, header,
                      "is no header line of a tokenizer in CLIP's text format, "
                      "such as #version: 0.2",
                      error);
    }
    if (read_pair(parser, header, pair) && pair[0] >= 0 && pair[1] >= 0) {
        return refuse(parser, header,
                      "is a merge, but the first line must be a header, such as "
                      "#version: 0.2; put one above it",
                      error);
    }
    return CLIP_OK;
}

/* Reads "clip.c, N merges" in a header that this program wrote. false: somebody else wrote it; -1:
 * it is incomplete. */
static bool read_promise(const struct line *header, int64_t *merges)
{
    static const char before[] = "clip.c, ", behind[] = " merges";
    const char *at = memmem(header->text, header->n, before, strlen(before));
    const char *end = header->text + header->n;
    if (at == NULL) return false;
    at += strlen(before);
    *merges = 0;
    for (; at < end && *at >= '0' && *at <= '9'; at++)
        if (*merges <= CLIP_BPE_MERGES_MAX) *merges = *merges * 10 + (*at - '0');
    if ((size_t)(end - at) < strlen(behind) || memcmp(at, behind, strlen(behind)) != 0)
        *merges = -1;
    return true;
}

/* A header of this program says how many merges follow, and there must be as many. After another
 * header there may be any number but none. */
static clip_status check_count(const struct parser *parser, const struct line *header,
                               struct clip_error *error)
{
    int64_t found = parser->bpe->merge_count, promised = 0;
    if (read_promise(header, &promised)) {
        if (promised < 0) {
            return refuse(parser, header,
                          "is a header without its end; the file is cut, copy it "
                          "again",
                          error);
        }
        if (promised != found) {
            return clip_fail(error, CLIP_ERR_FORMAT,
                             "%s is cut: its header promises %s, but %lld follow; copy it again",
                             parser->name, CLIP_COUNT(promised, "merge"), (long long)found);
        }
    } else if (found == 0) {
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "%s is no tokenizer or is cut: expected a header line, then one merge a "
                         "line, but there is no second line",
                         parser->name);
    }
    return CLIP_OK;
}

clip_status clip_bpe_read_merges(struct clip_tokenizer **out, const char *bytes, size_t n,
                                 const char *name, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct parser parser = {.name = name};
    struct line header = {0}, line;
    struct clip_bpe *bpe;
    size_t at = 0;
    *out = NULL;
    CLIP_NEW(bpe, 1);
    bpe->base.ops = &clip_bpe_ops;
    parser.bpe = bpe;
    clip_alphabet_init(&bpe->alphabet);
    CLIP_TRY(clip_splitter_init(&bpe->splitter, error));
    CLIP_TRY(add_base(&parser, error));
    if (!next_line(bytes, n, &at, &header)) {
        CLIP_TRY(clip_fail(error, CLIP_ERR_FORMAT,
                           "%s is empty; expected a header line, then one "
                           "merge per line",
                           name));
    }
    CLIP_TRY(check_header(&parser, &header, error));
    CLIP_TRY(clip_buffer_append(&bpe->base.text, header.text, header.n, error));
    line = header;
    while (bpe->merge_count < CLIP_BPE_MERGES_MAX && next_line(bytes, n, &at, &line))
        CLIP_TRY(read_merge(&parser, &line, error));
    CLIP_TRY(check_count(&parser, &header, error));
    CLIP_TRY(build_tables(&parser, error));
    bpe->base.merges = true;
    bpe->base.vocab_size = CLIP_BPE_BASE + bpe->merge_count + CLIP_BPE_ENDS;
    bpe->base.start = (int32_t)bpe->base.vocab_size - 2;
    bpe->base.end = (int32_t)bpe->base.vocab_size - 1;
    *out = &bpe->base;
    bpe = NULL;
out:
    if (bpe != NULL) clip_tokenizer_free(&bpe->base);
    clip_string_map_release(&parser.symbols);
    clip_buffer_release(&parser.spelling);
    free(parser.left);
    free(parser.right);
    free(parser.again);
    return status;
}

bool clip_tokenizer_is_clip(const struct clip_tokenizer *tokenizer)
{
    const struct clip_buffer *text = &tokenizer->text;
    const char *merges = text->data != NULL ? memchr(text->data, '\n', text->size) : NULL;
    if (!tokenizer->merges || merges == NULL) return false;
    merges++;
    size_t n = text->size - (size_t)(merges - text->data);
    while (n > 0 && merges[n - 1] == '\n') n--;
    return crc32_z(0, (const unsigned char *)merges, n) == CLIP_MERGES_CRC32;
}
