/* SentencePiece's precompiled table of characters, by which the tokenizer.json of a T5 or SigLIP
 * normalizes (NFKC and more): it says what a few characters become.
 *
 *     bytes 0..3   size of the trie in bytes, least significant first
 *     the trie     units of 32 bits: a double array (Aoe 1989) as darts-clone writes it
 *     the texts    in UTF-8, each with a NUL behind it
 *
 * A unit has the byte that leads to it (bits 0..7, with bit 31 being 0), whether the bytes so far
 * have a text (bit 8), and an offset (bits 10..30, times 256 if bit 9 is set). Byte b leads to the
 * unit with the number (own number ^ offset ^ b), and the place of the text is in the unit (own
 * number ^ offset), whose bit 31 is 1. Everything is checked when the table is read, so that
 * looking up checks nothing. */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "core/markup.h"
#include "data/text/tokenizer_internal.h"

#define VALUE ((uint32_t)1 << 31)
enum { WHOLE = 5 }; /* bytes: graphemes of up to so many are looked up whole (spm_precompiled) */

static uint32_t unit_at(const struct clip_charsmap *map, size_t i)
{
    const unsigned char *at = (const unsigned char *)map->bytes.data + 4 + 4 * i;
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static size_t offset_of(uint32_t unit)
{
    return (size_t)((unit & ~VALUE) >> 10) << (unit >> 9 & 1 ? 8 : 0);
}

static bool is_leaf(uint32_t unit) { return unit >> 8 & 1; }

void clip_charsmap_release(struct clip_charsmap *map)
{
    clip_buffer_release(&map->bytes);
    *map = (struct clip_charsmap){0};
}

/* ---- Reading ---- */

/* Does unit i lead to units that exist, and does a text that belongs to it begin with a
 * character? */
static bool unit_is_sound(const struct clip_charsmap *map, size_t i)
{
    uint32_t unit = unit_at(map, i);
    if (unit & VALUE) return true; /* nothing follows it */
    size_t next = i ^ offset_of(unit);
    if ((next | 0xFF) >= map->count) return false;
    if (!is_leaf(unit)) return true;
    uint32_t value = unit_at(map, next);
    size_t place = value & ~VALUE;
    return value & VALUE && place < map->text_size && (map->texts[place] & 0xC0) != 0x80;
}

clip_status clip_charsmap_read(struct clip_charsmap *map, const char *base64, const char *name,
                               struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_points points = {0};
    CLIP_TRY(clip_markup_from_base64(&map->bytes, base64, strlen(base64), error));
    const unsigned char *bytes = (const unsigned char *)map->bytes.data;
    size_t size = map->bytes.size, trie = 0;
    for (int i = 3; i >= 0 && size >= 4; i--) trie = trie << 8 | bytes[i];
    bool sound = trie > 0 && trie % 4 == 0 && size > 4 && trie < size - 4 && bytes[size - 1] == 0;
    if (sound) {
        map->count = trie / 4;
        map->texts = map->bytes.data + 4 + trie;
        map->text_size = size - 4 - trie;
        status = clip_points_decode(&points, map->texts, map->text_size, error);
        if (status == CLIP_ERR_MEMORY) goto out;
        sound = status == CLIP_OK;
    }
    for (size_t i = 0; sound && i < map->count; i++) sound = unit_is_sound(map, i);
    if (!sound) {
        CLIP_TRY(clip_fail(error, CLIP_ERR_FORMAT,
                           "the table is no double array with UTF-8 texts behind it"));
    }
out:
    clip_points_release(&points);
    if (status != CLIP_OK && status != CLIP_ERR_MEMORY)
        clip_error_prefix(error, "%s: the tokenizer's precompiled_charsmap is damaged", name);
    return status;
}

/* ---- Running ---- */

/* The text of the shortest beginning of the key that has one; NULL if none has. */
static const char *look_up(const struct clip_charsmap *map, const char *key, size_t n)
{
    size_t at = offset_of(unit_at(map, 0));
    for (size_t i = 0; i < n && key[i] != '\0'; i++) {
        unsigned char byte = (unsigned char)key[i];
        at ^= byte;
        uint32_t unit = unit_at(map, at);
        if ((unit & (VALUE | 0xFF)) != byte) return NULL;
        at ^= offset_of(unit);
        if (is_leaf(unit)) return map->texts + (unit_at(map, at) & ~VALUE);
    }
    return NULL;
}

/* Appends what these characters together become; false if the table has nothing for them. */
static bool add_text(const struct clip_charsmap *map, const int32_t *at, int64_t n,
                     struct clip_points *out, clip_status *status, struct clip_error *error)
{
    char key[WHOLE + 4];
    size_t size = 0;
    for (int64_t i = 0; i < n && size <= WHOLE; i++)
        size += (size_t)utf8proc_encode_char(at[i], (utf8proc_uint8_t *)key + size);
    const char *text = size <= WHOLE ? look_up(map, key, size) : NULL;
    if (text == NULL) return false;
    *status = clip_points_decode(out, text, strlen(text), error);
    return true;
}

/* Works as the tokenizers library does: a grapheme of up to 5 bytes is replaced as a whole by the
 * text of its beginning. In a longer one, or if there is no such text, each character is replaced
 * by its own text. */
clip_status clip_charsmap_run(const struct clip_charsmap *map, struct clip_points *text,
                              int64_t most, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_points out = {0};
    utf8proc_int32_t state = 0;
    for (int64_t from = 0, to; from < text->count && out.count <= most; from = to) {
        for (to = from + 1; to < text->count; to++)
            if (utf8proc_grapheme_break_stateful(text->at[to - 1], text->at[to], &state)) break;
        if (add_text(map, text->at + from, to - from, &out, &status, error)) {
            CLIP_TRY(status);
            continue;
        }
        for (int64_t i = from; i < to; i++) {
            if (!add_text(map, text->at + i, 1, &out, &status, error))
                status = clip_points_add(&out, text->at[i], error);
            CLIP_TRY(status);
        }
    }
    clip_points_swap(text, &out);
out:
    clip_points_release(&out);
    return status;
}
