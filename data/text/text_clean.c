#include "data/text/text_clean.h"

#include <ctype.h>
#include <string.h>

#include "core/choice.h"

const char *clip_text_cleaning_name(int cleaning)
{
    static const char *const names[] = {
        [CLIP_TEXT_OPEN_CLIP] = "open_clip",
        [CLIP_TEXT_HUGGINGFACE] = "huggingface",
        [CLIP_TEXT_CANONICALIZE] = "canonicalize",
    };
    return CLIP_NAME_OF(names, cleaning);
}

/* Is it printable ASCII without &? Such text needs no repair and has no character references. */
static bool is_plain(const struct clip_points *text)
{
    for (int64_t i = 0; i < text->count; i++) {
        int32_t point = text->at[i];
        if (point < 0x20 || point > 0x7E || point == '&') return false;
    }
    return true;
}

/* Drops Python's string.punctuation, except that "_" becomes a space. */
static void drop_punctuation(struct clip_points *text)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < text->count; i++) {
        int32_t point = text->at[i];
        if (point == '_') point = ' ';
        if (point > 0x7F || !ispunct(point)) text->at[kept++] = point;
    }
    text->count = kept;
}

static clip_status clean_open_clip(struct clip_points *text, bool canonicalize,
                                   struct clip_error *error)
{
    clip_status status = CLIP_OK;
    if (!is_plain(text)) {
        CLIP_TRY(clip_text_repair(text, error));
        CLIP_TRY(clip_text_unescape(text, error));
        CLIP_TRY(clip_text_unescape(text, error));
    }
    if (canonicalize) drop_punctuation(text);
    clip_points_squeeze(text, true);
    CLIP_TRY(clip_points_lower(text, true, error));
out:
    return status;
}

static clip_status clean_huggingface(struct clip_points *text, struct clip_error *error)
{
    clip_status status = clip_points_compose(text, error);
    if (status != CLIP_OK) return status;
    clip_points_squeeze(text, false);
    return clip_points_lower(text, false, error);
}

clip_status clip_text_clean(const char *text, size_t n, enum clip_text_cleaning cleaning,
                            struct clip_buffer *out, struct clip_error *error)
{
    struct clip_points points = {0};
    clip_status status = CLIP_OK;
    CLIP_TRY(clip_points_decode(&points, text, n, error));
    if (cleaning == CLIP_TEXT_HUGGINGFACE)
        CLIP_TRY(clean_huggingface(&points, error));
    else
        CLIP_TRY(clean_open_clip(&points, cleaning == CLIP_TEXT_CANONICALIZE, error));
    CLIP_TRY(clip_points_encode(&points, out, error));
out:
    clip_points_release(&points);
    return status;
}
