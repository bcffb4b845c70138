#include "eval/loss.h"

#include <stdlib.h>
#include <string.h>

#include "core/progress.h"
#include "core/threads.h"
#include "data/sets/loader.h"
#include "embed/share.h"
#include "formats/model_file.h"
#include "model/loss.h"

static clip_status batch_loss(struct clip_tape *t, struct clip_model *model,
                              const struct clip_loss *kind, const struct clip_batch *batch,
                              double *out, struct clip_error *error)
{
    int64_t size = model->config.image_size;
    const int64_t shape[] = {batch->count, 3, size, size};
    struct clip_tensor pixels = clip_tensor_view(CLIP_F32, batch->pixels, 4, shape);
    struct clip_tensor tokens = clip_tensor_i32(batch->tokens, batch->offsets[batch->count]);
    struct clip_tensor offsets = clip_tensor_i32(batch->offsets, batch->count + 1);
    clip_tape_clear(t);
    struct clip_tensor *image = clip_vision_encode(t, model, &pixels, NULL);
    struct clip_tensor *text = clip_text_encode(t, model, &tokens, &offsets);
    struct clip_tensor *loss =
        clip_model_loss(t, model, image, text, &(struct clip_loss_inputs){.loss = kind});
    clip_status status = clip_tape_status(t, error);
    if (status == CLIP_OK) *out = (double)*(const float *)loss->data;
    return status;
}

/* The sum of the batches' losses times their pairs. Each is known to one process; the others have
 * 0. */
static double sum_all(const struct clip_comm *comm, const double *losses, int64_t batches)
{
    double sum = 0;
    for (int64_t k = 0; k < batches; k++) {
        int64_t bits;
        double loss;
        memcpy(&bits, &losses[k], sizeof bits);
        bits = clip_comm_sum(comm, bits); /* one is added to zeros */
        memcpy(&loss, &bits, sizeof loss);
        sum += loss;
    }
    return sum;
}

clip_status clip_loss_run(const struct clip_embedder *embedder, const struct clip_dataset *dataset,
                          const struct clip_loss *kind, int64_t batch_size, bool quiet,
                          struct clip_loss_result *result, struct clip_error *error)
{
    clip_status status;
    const struct clip_model_file *file = clip_embedder_file(embedder);
    struct clip_loader *loader = NULL;
    struct clip_tape *tape = NULL;
    struct clip_batch batch = {0};
    struct clip_progress progress;
    struct clip_comm *comm = clip_embedder_comm(embedder); /* processes take turns */
    double *losses = NULL, loss;
    int64_t capacity = 0;
    if (kind == NULL) kind = clip_loss_of(&file->model->config);
    *result = (struct clip_loss_result){.batch_size = batch_size, .kind = kind};
    if (file->tokenizer == NULL)
        return clip_fail(error, CLIP_ERR_DATA,
                         "%s comes without a tokenizer, so it reads no captions; name one with "
                         "--tokenizer FILE",
                         clip_embedder_source(embedder));
    const struct clip_loader_options options = {
        .batch_size = batch_size,
        .context_length = file->model->config.context_length,
        .vocab_size = file->model->config.vocab_size,
        .workers = clip_threads_count() > 1 ? 1 : 0,
        .preprocess = file->preprocess,
        .limits = {.max_pixels = clip_embedder_max_pixels(embedder),
                   .upright = clip_embedder_upright(embedder)},
        .cleaning = file->cleaning,
        .max_bad_fraction = 1.0,
        .quiet = false,
    };
    status = clip_loss_check(kind, &file->model->config, error);
    if (status != CLIP_OK) return clip_error_prefix(error, "%s", clip_embedder_source(embedder));
    clip_progress_start(&progress, "measuring", "pair", 0, dataset->count, quiet);
    CLIP_TRY(clip_loader_create(&loader, dataset, file->tokenizer, &options, error));
    CLIP_TRY(clip_tape_create(&tape, error));
    tape->record = false;
    for (;;) {
        CLIP_TRY(clip_loader_next(loader, &batch, NULL, error));
        if (batch.count == 0) break;
        loss = 0;
        if (result->batches % clip_comm_size(comm) == clip_comm_rank(comm))
            CLIP_TRY(batch_loss(tape, file->model, kind, &batch, &loss, error));
        CLIP_TRY(clip_array_grow(&losses, &capacity, result->batches + 1, sizeof *losses, error));
        losses[result->batches] = loss * (double)batch.count;
        result->n += batch.count;
        result->batches++;
        clip_progress_update(&progress, result->n, NULL);
    }
    result->skipped = clip_loader_counts(loader).bad;
    if (result->n == 0)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA, "no pair of %lld can be read",
                           (long long)dataset->count));
    CLIP_TRY(clip_comm_agree(comm, CLIP_OK, error));
    result->loss = sum_all(comm, losses, result->batches) / (double)result->n;
out:
    free(losses);
    clip_progress_end(&progress);
    clip_tape_free(tape);
    clip_loader_free(loader);
    return status;
}
