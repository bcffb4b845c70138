/* Processes that embed a list together: each a part of it, then everybody has all rows. Where they
 * do (training's validation), they call all that embeds alike. */
#ifndef CLIP_EMBED_SHARE_H
#define CLIP_EMBED_SHARE_H

#include "core/comm.h"
#include "embed/embedder.h"

/* `comm` is borrowed; NULL, as at first: every process embeds what it is asked for by itself. */
void clip_embedder_share(struct clip_embedder *embedder, struct clip_comm *comm);
struct clip_comm *clip_embedder_comm(const struct clip_embedder *embedder);

/* Item i of n is this process' if begin <= i < end. */
struct clip_share {
    struct clip_comm *comm;
    int64_t n, begin, end;
    int64_t *bounds; /* scratch memory */
};
clip_status clip_share_begin(struct clip_share *share, struct clip_comm *comm, int64_t n,
                             struct clip_error *error);
/* Rows of `bytes` each, [n], for everybody. `status` is what became of this process' part: if any
 * failed, that is returned and nothing is exchanged. */
clip_status clip_share_rows(struct clip_share *share, clip_status status, void *rows, size_t bytes,
                            struct clip_error *error);
void clip_share_end(struct clip_share *share);

#endif
