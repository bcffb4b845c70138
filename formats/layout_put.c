/* Turns our weights into those of another layout. */
#include <string.h>

#include "formats/layout.h"

/* Transposes a matrix, [rows,cols] -> [cols,rows], into the arena. */
static clip_status turn(struct clip_bundle *out, struct clip_tensor *tensor,
                        struct clip_error *error)
{
    int64_t rows = tensor->shape[0], cols = tensor->shape[1];
    const float *from = tensor->data;
    float *to = clip_arena_alloc(&out->arena, rows * cols, sizeof *to, error);
    if (to == NULL) return CLIP_ERR_MEMORY;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++) to[c * rows + r] = from[r * cols + c];
    tensor->data = to;
    tensor->shape[0] = cols;
    tensor->shape[1] = rows;
    return CLIP_OK;
}

/* Several of our weights are rows of one of theirs, which is created with the first of them and
 * filled by each. */
static clip_status put_rows(struct clip_bundle *out, const struct clip_place *place,
                            const struct clip_tensor *tensor, struct clip_error *error)
{
    const struct clip_tensor *whole = clip_bundle_find(out, place->names[0]);
    int64_t thirds = place->end_third - place->first_third;
    if (whole == NULL) {
        struct clip_tensor new = *tensor;
        new.shape[0] = tensor->shape[0] / thirds * 3;
        new.data = clip_arena_alloc(&out->arena, clip_tensor_count(&new), sizeof(float), error);
        if (new.data == NULL) return CLIP_ERR_MEMORY;
        clip_status status = clip_bundle_add(out, place->names[0], &new, error);
        if (status != CLIP_OK) return status;
        whole = clip_bundle_find(out, place->names[0]);
    }
    int64_t begin = clip_tensor_count(whole) / 3 * place->first_third;
    memcpy((float *)whole->data + begin, tensor->data,
           (size_t)clip_tensor_count(tensor) * sizeof(float));
    return CLIP_OK;
}

clip_status clip_layout_put(struct clip_bundle *out, enum clip_layout layout, const char *name,
                            const struct clip_tensor *tensor, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_place place;
    struct clip_tensor part = *tensor;
    if (!clip_layout_place(layout, name, &place)) {
        return clip_fail(error, CLIP_ERR_DATA,
                         "the weight \"%s\" has no place in a model of "
                         "%s's",
                         name, clip_layout_name(layout));
    }
    if (place.fit == CLIP_FIT_ROWS) return put_rows(out, &place, tensor, error);
    if (place.fit == CLIP_FIT_TRANSPOSED) CLIP_TRY(turn(out, &part, error));
    if (place.fit == CLIP_FIT_STACKED) part.shape[0] /= place.count;
    for (int i = 0; i < place.count; i++) {
        part.data = (float *)(place.count > 1 ? tensor->data : part.data) +
                    i * clip_tensor_count(&part);
        CLIP_TRY(clip_bundle_add(out, place.names[i], &part, error));
    }
out:
    return status;
}
