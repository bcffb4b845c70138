#include "embed/share.h"

#include <stdlib.h>

#include "core/memory.h"
#include "embed/embedder_parts.h"

void clip_embedder_share(struct clip_embedder *e, struct clip_comm *comm) { e->comm = comm; }

struct clip_comm *clip_embedder_comm(const struct clip_embedder *e) { return e->comm; }

clip_status clip_share_begin(struct clip_share *s, struct clip_comm *comm, int64_t n,
                             struct clip_error *error)
{
    int size = clip_comm_size(comm), rank = clip_comm_rank(comm);
    *s = (struct clip_share){.comm = comm, .n = n, .end = n};
    if (size == 1) return CLIP_OK;
    s->begin = n * rank / size;
    s->end = n * (rank + 1) / size;
    s->bounds = clip_array_new(size + 1, sizeof *s->bounds, error);
    return clip_comm_agree(comm, s->bounds != NULL ? CLIP_OK : CLIP_ERR_MEMORY, error);
}

clip_status clip_share_rows(struct clip_share *s, clip_status status, void *rows, size_t bytes,
                            struct clip_error *error)
{
    int size = clip_comm_size(s->comm);
    if (size == 1) return status;
    status = clip_comm_agree(s->comm, status, error);
    if (status != CLIP_OK) return status;
    for (int r = 0; r <= size; r++) s->bounds[r] = s->n * r / size * (int64_t)bytes;
    clip_comm_all_gather(s->comm, rows, s->bounds);
    return CLIP_OK;
}

void clip_share_end(struct clip_share *s)
{
    free(s->bounds);
    *s = (struct clip_share){0};
}
