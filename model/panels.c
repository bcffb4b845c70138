/* Prepacks the weights for the products that they are in (kernels/gemm.h). */
#include <stdlib.h>

#include "core/count.h"
#include "core/memory.h"
#include "kernels/gemm.h"
#include "model/model.h"

/* Walks twice: the first walk counts, the second packs. */
struct packing {
    struct clip_panels *panels; /* NULL while counting */
    bool bf16;
    char *room;
    size_t used;
    int64_t count;
};

/* Packs a weight that rows are multiplied by: [N,...] by its transpose, or [D,N]. Does nothing for
 * NULL, and without data because its tower was not read. */
static void add(struct packing *p, struct clip_tensor *w, bool transpose)
{
    if (w == NULL || w->data == NULL) return;
    int64_t n = transpose ? w->shape[0] : w->shape[1], k = clip_tensor_count(w) / n;
    if (p->panels != NULL) {
        const struct clip_operand b = {w->data, transpose ? k : n, .transpose = transpose};
        struct clip_panels *panels = &p->panels[p->count];
        *panels = (struct clip_panels){p->room + p->used, p->bf16, transpose};
        clip_gemm_pack(&b, n, k, panels);
        w->panels = panels;
    }
    p->count++;
    p->used += (clip_gemm_panels_bytes(n, k, p->bf16) + 63) / 64 * 64;
}

static void add_tower(struct packing *p, const struct clip_tower *tower,
                      const struct clip_tower_params *params)
{
    for (int64_t i = 0; i < tower->layers; i++) {
        add(p, params->blocks[i].in_proj_w, true);
        add(p, params->blocks[i].out_proj_w, true);
        add(p, params->blocks[i].c_fc_w, true);
        add(p, params->blocks[i].c_proj_w, true);
    }
    add(p, params->proj, tower->projection == CLIP_PROJECT_LINEAR);
}

static void walk(struct packing *p, const struct clip_model *m)
{
    p->count = 0;
    p->used = 0;
    add(p, m->vision.patch_w, true);
    add_tower(p, &m->config.vision, &m->vision);
    add_tower(p, &m->config.text, &m->text);
}

clip_status clip_model_pack(struct clip_model *m, bool bf16, struct clip_error *error)
{
    struct packing p = {.bf16 = bf16};
    if (!clip_gemm_rows_independent()) return CLIP_OK; /* OpenBLAS packs by itself */
    walk(&p, m);
    struct clip_panels *panels = clip_array_new(p.count, sizeof *panels, error);
    if (panels == NULL) return CLIP_ERR_MEMORY;
    p.room = aligned_alloc(64, p.used);
    if (p.room == NULL) {
        free(panels);
        return clip_fail(error, CLIP_ERR_MEMORY, "no memory for %s of packed weights",
                         CLIP_COUNT(p.used, "byte"));
    }
    clip_memory_large_pages(p.room, p.used);
    p.panels = panels;
    walk(&p, m);
    free(m->panels);
    free(m->packed);
    m->panels = panels;
    m->packed = p.room;
    return CLIP_OK;
}
