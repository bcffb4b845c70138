/* Many texts: read from a file, embedded in order. */
#ifndef CLIP_EMBED_TEXTS_H
#define CLIP_EMBED_TEXTS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"
#include "embed/embedder.h"

struct clip_texts { /* start from {0} */
    const char **lines;
    int64_t count, capacity;
    struct clip_arena arena;
};
/* One line per text, UTF-8, LF or CRLF; an empty line is an empty text. The end of the last line
 * need not be there. A NUL byte or a file without a line is refused. */
clip_status clip_texts_read(struct clip_texts *out, const char *path, struct clip_error *error);
void clip_texts_release(struct clip_texts *texts);

struct clip_texts_options { /* {0}: unit rows, a progress line */
    enum clip_row_kind kind;
    bool quiet; /* no progress line */
};
/* out [n,E]; *cut: how many were longer than the context. */
clip_status clip_texts_embed(const struct clip_embedder *embedder, const char *const *texts,
                             int64_t n, const struct clip_texts_options *options, float *out,
                             int64_t *cut, struct clip_error *error);
/* Warns where texts were cut; `one` is what one of them is called: "text", "caption". */
void clip_texts_warn_cut(int64_t cut, const char *one);

#endif
