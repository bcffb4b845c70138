#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

#include "data/text/text_clean.h"
#include "data/text/tokenizer_internal.h"

/* CLIP's pattern (simple_tokenizer.py). White space is Unicode's White_Space, spelled out because
 * PCRE2's \s holds U+180E as well. open_clip's ignores case, in Python's regex: U+017F then counts
 * as an s, and U+0345, whose capital is a letter, is neither a letter nor anything else. Letters
 * stand first for speed: no other alternative begins with one. */
#define PATTERN(start, end, dropped)                                                               \
    "\\p{L}+|" start "|" end "|'s|'t|'re|'ve|'m|'ll|'d|\\p{N}|"                                    \
    "[^\\t-\\r\\x{85}\\p{Z}\\p{L}\\p{N}" dropped "]+"

static const char *const patterns[2] = {
    "(?i)" PATTERN("<start_of_text>", "<end_of_text>", "\\x{345}"),
    PATTERN("<\\|startoftext\\|>", "<\\|endoftext\\|>", ""),
};

clip_status clip_splitter_init(struct clip_splitter *splitter, struct clip_error *error)
{
    for (int i = 0; i < 2; i++) {
        int code = 0;
        PCRE2_SIZE at = 0;
        splitter->pattern[i] = pcre2_compile((PCRE2_SPTR)patterns[i], PCRE2_ZERO_TERMINATED,
                                             PCRE2_UTF | PCRE2_UCP, &code, &at, NULL);
        if (splitter->pattern[i] == NULL) {
            return clip_fail(error, CLIP_ERR_MEMORY,
                             "the token pattern cannot be compiled (PCRE2 error %d at %zu)", code,
                             at);
        }
    }
    return CLIP_OK;
}

void clip_splitter_release(struct clip_splitter *splitter)
{
    for (int i = 0; i < 2; i++) pcre2_code_free(splitter->pattern[i]);
    *splitter = (struct clip_splitter){0};
}

static bool equals(const char *piece, size_t n, const char *literal)
{
    return n == strlen(literal) && memcmp(piece, literal, n) == 0;
}

/* One match of the pattern. open_clip's literals are the ends. transformers looks for its own
 * before cleaning; what lower case has made of <|EndOfText|> is cut again around its letters. */
static clip_status hand_over(const char *piece, size_t n, enum clip_text_cleaning cleaning,
                             clip_piece_handler handler, void *context, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    if (cleaning != CLIP_TEXT_HUGGINGFACE) {
        enum clip_piece_kind kind = equals(piece, n, "<start_of_text>") ? CLIP_PIECE_START
                                    : equals(piece, n, "<end_of_text>") ? CLIP_PIECE_END
                                                                        : CLIP_PIECE_WORD;
        return handler(context, kind, piece, n, error);
    }
    if (equals(piece, n, "<|startoftext|>") || equals(piece, n, "<|endoftext|>")) {
        CLIP_TRY(handler(context, CLIP_PIECE_WORD, piece, 2, error));
        CLIP_TRY(handler(context, CLIP_PIECE_WORD, piece + 2, n - 4, error));
        CLIP_TRY(handler(context, CLIP_PIECE_WORD, piece + n - 2, 2, error));
    } else {
        CLIP_TRY(handler(context, CLIP_PIECE_WORD, piece, n, error));
    }
out:
    return status;
}

static clip_status split_clean(const struct clip_splitter *splitter, const char *text, size_t n,
                               enum clip_text_cleaning cleaning, clip_piece_handler handler,
                               void *context, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const pcre2_code *pattern = splitter->pattern[cleaning == CLIP_TEXT_HUGGINGFACE];
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    if (match == NULL) return clip_fail(error, CLIP_ERR_MEMORY, "memory is short for a match");
    for (size_t at = 0; at < n;) {
        int found = pcre2_match(pattern, (PCRE2_SPTR)text, n, at, PCRE2_NO_UTF_CHECK, match, NULL);
        if (found == PCRE2_ERROR_NOMATCH) break;
        if (found == PCRE2_ERROR_NOMEMORY) /* no fault of the text */
            CLIP_TRY(clip_fail(error, CLIP_ERR_MEMORY, "memory is short for a match"));
        if (found < 0) {
            CLIP_TRY(
                clip_fail(error, CLIP_ERR_DATA, "a text cannot be cut (PCRE2 error %d)", found));
        }
        const PCRE2_SIZE *range = pcre2_get_ovector_pointer(match);
        CLIP_TRY(
            hand_over(text + range[0], range[1] - range[0], cleaning, handler, context, error));
        at = range[1];
    }
out:
    pcre2_match_data_free(match);
    return status;
}

static clip_status clean_and_split(const struct clip_splitter *splitter, const char *text, size_t n,
                                   enum clip_text_cleaning cleaning, clip_piece_handler handler,
                                   void *context, struct clip_error *error)
{
    struct clip_buffer clean = {0};
    clip_status status = clip_text_clean(text, n, cleaning, &clean, error);
    if (status == CLIP_OK)
        status = split_clean(splitter, clean.data, clean.size, cleaning, handler, context, error);
    clip_buffer_release(&clean);
    return status;
}

/* The first of transformers' two literals in text[0..n); NULL if there is none. */
static const char *find_literal(const char *text, size_t n, size_t *length,
                                enum clip_piece_kind *kind)
{
    static const char *const literals[2] = {"<|startoftext|>", "<|endoftext|>"};
    const char *end = text + n;
    for (const char *at = text; n > 0 && (at = memchr(at, '<', (size_t)(end - at))) != NULL; at++) {
        for (int i = 0; i < 2; i++) {
            *length = strlen(literals[i]);
            if ((size_t)(end - at) >= *length && memcmp(at, literals[i], *length) == 0) {
                *kind = i == 0 ? CLIP_PIECE_START : CLIP_PIECE_END;
                return at;
            }
        }
    }
    return NULL;
}

clip_status clip_splitter_run(const struct clip_splitter *splitter, const char *text, size_t n,
                              enum clip_text_cleaning cleaning, clip_piece_handler handler,
                              void *context, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_points points = {0};
    bool checked = false;
    while (cleaning == CLIP_TEXT_HUGGINGFACE) {
        size_t length = 0;
        enum clip_piece_kind kind = CLIP_PIECE_WORD;
        const char *literal = find_literal(text, n, &length, &kind);
        if (literal == NULL) break;
        /* the whole text, so that the byte in the error counts from its beginning */
        if (!checked) {
            CLIP_TRY(clip_points_decode(&points, text, n, error));
            checked = true;
        }
        size_t before = (size_t)(literal - text);
        CLIP_TRY(clean_and_split(splitter, text, before, cleaning, handler, context, error));
        CLIP_TRY(handler(context, kind, literal, length, error));
        text = literal + length;
        n -= before + length;
    }
    CLIP_TRY(clean_and_split(splitter, text, n, cleaning, handler, context, error));
out:
    clip_points_release(&points);
    return status;
}
