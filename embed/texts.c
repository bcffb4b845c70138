#include "embed/texts.h"

#include <stdlib.h>
#include <string.h>

#include "core/count.h"
#include "core/file.h"
#include "core/progress.h"
#include "embed/share.h"

static const size_t LARGEST_FILE = (size_t)1 << 32;

void clip_texts_release(struct clip_texts *texts)
{
    free(texts->lines);
    clip_arena_release(&texts->arena);
    *texts = (struct clip_texts){0};
}

clip_status clip_texts_read(struct clip_texts *out, const char *path, struct clip_error *error)
{
    clip_status status;
    struct clip_buffer file = {0};
    CLIP_TRY(clip_file_read(path, LARGEST_FILE, &file, error));
    if (file.size > 0 && memchr(file.data, '\0', file.size) != NULL)
        CLIP_TRY(clip_fail(error, CLIP_ERR_FORMAT,
                           "%s holds a NUL byte; expected UTF-8 text, one line per text", path));
    for (size_t at = 0; at < file.size;) {
        const char *line = file.data + at;
        size_t n = strcspn(line, "\n");
        at += n + 1;
        if (n > 0 && line[n - 1] == '\r') n--;
        CLIP_TRY(clip_array_grow(&out->lines, &out->capacity, out->count + 1, sizeof *out->lines,
                                 error));
        out->lines[out->count] = clip_arena_string(&out->arena, line, n, error);
        if (out->lines[out->count] == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
        out->count++;
    }
    if (out->count == 0)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA, "%s is empty; write one line per text", path));
out:
    clip_buffer_release(&file);
    if (status != CLIP_OK) clip_texts_release(out);
    return status;
}

clip_status clip_texts_embed(const struct clip_embedder *embedder, const char *const *texts,
                             int64_t n, const struct clip_texts_options *options, float *out,
                             int64_t *cut, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t size = 1024, dim = clip_embedder_dim(embedder); /* between two looks at the clock */
    struct clip_progress progress;
    struct clip_share share = {0};
    *cut = 0;
    CLIP_TRY(clip_share_begin(&share, clip_embedder_comm(embedder), n, error));
    clip_progress_start(&progress, "embedding", "text", 0, n, options->quiet);
    for (int64_t i = share.begin; i < share.end && status == CLIP_OK; i += size) {
        int64_t b = share.end - i < size ? share.end - i : size, cut_here = 0;
        status = clip_embedder_texts(embedder, texts + i, b, options->kind, out + i * dim,
                                     &cut_here, error);
        if (status != CLIP_OK && i > 0)
            clip_error_prefix(error, "after the first %s", CLIP_COUNT(i, "text"));
        *cut += cut_here;
        clip_progress_update(&progress, i + b, NULL);
    }
    clip_progress_end(&progress);
    status = clip_share_rows(&share, status, out, (size_t)dim * sizeof *out, error);
    *cut = clip_comm_sum(share.comm, *cut);
out:
    clip_share_end(&share);
    return status;
}

void clip_texts_warn_cut(int64_t cut, const char *one)
{
    const char *was = clip_counted_word(cut, "was", "were");
    if (cut > 0)
        clip_warn("%s %s longer than the context and %s cut", CLIP_COUNT(cut, one), was, was);
}
