/* What the embedder's files share. */
#ifndef CLIP_EMBED_EMBEDDER_PARTS_H
#define CLIP_EMBED_EMBEDDER_PARTS_H

#include "data/text/tokenizer.h"
#include "embed/embedder.h"
#include "formats/model_file.h"
#include "model/model.h"

struct clip_embedder {
    struct clip_comm *comm; /* embed/share.h; NULL: one process */
    const struct clip_model_file *file;
    struct clip_model_file *owned; /* NULL: the caller's */
    enum clip_dtype dtype;         /* what products multiply */
    int64_t max_pixels;
    bool upright, raw_weights;        /* as the options say */
    bool (*cancelled)(void *context); /* or NULL */
    void *context;
};

/* Copies a caller's structure of `size` bytes into *out, one of `known` that is {0}. CLIP_ERR_USAGE
 * where it is no size that struct `name` ever had (the first was `first`), or where what stands
 * behind the `known` bytes is not 0: the caller knows members that this library does not. */
clip_status clip_embedder_take_struct(void *out, size_t known, const void *from, size_t size,
                                      size_t first, const char *name, struct clip_error *error);
/* CLIP_ERR_USAGE unless `value` is one of the first `count` enumerators of enum `name`. */
clip_status clip_embedder_check_enum(int value, int count, const char *name,
                                     struct clip_error *error);
/* CLIP_ERR_INTERRUPTED where the caller does not want the rest of a call any more. */
clip_status clip_embedder_check_cancelled(const struct clip_embedder *e, struct clip_error *error);

/* The tower that is needed was read. */
clip_status clip_embedder_check_tower(const struct clip_embedder *e, bool image,
                                      struct clip_error *error);
/* The texts' tower was read, and there is a tokenizer. */
clip_status clip_embedder_need_tokenizer(const struct clip_embedder *e, struct clip_error *error);
/* Makes *tape where it is NULL; cleared, it records nothing. */
clip_status clip_embedder_start_tape(const struct clip_embedder *e, struct clip_tape **tape,
                                     struct clip_error *error);
/* Text i as ids, replaced in *ids; *cut is raised where it was too long. */
clip_status clip_embedder_encode_text(const struct clip_embedder *e, const char *const *texts,
                                      int64_t i, struct clip_ids *ids, int64_t *cut,
                                      struct clip_error *error);
/* The first n ids of row i are tokens of the vocabulary. */
clip_status clip_embedder_check_ids(const struct clip_embedder *e, const int32_t *ids, int64_t i,
                                    int64_t n, struct clip_error *error);

#endif
