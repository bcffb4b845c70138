/* Which label fits one image best: its number in the index, or its bytes in the body. */
#include <stdlib.h>

#include "eval/template_sets.h"
#include "eval/zeroshot.h"
#include "serve/api_parts.h"

/* Each label in the template, embedded: rows [labels,E]. */
static clip_status embed_labels(const struct clip_api_call *call,
                                const struct clip_api_asked *asked, float *rows,
                                struct clip_error *error)
{
    clip_status status;
    struct clip_templates templates = {0};
    bool has_template = asked->template != NULL && asked->template[0] != '\0';
    CLIP_TRY(
        clip_template_one(has_template ? asked->template : "a photo of a {}", &templates, error));
    CLIP_TRY(clip_zeroshot_classifier(call->api->embedder, (char *const *)(uintptr_t)asked->labels,
                                      asked->label_count, &templates, rows, error));
out:
    clip_templates_release(&templates);
    return status;
}

/* p [labels]: the labels' probabilities for the query's one image. */
static clip_status classify(const struct clip_api_call *call, const struct clip_api_asked *asked,
                            double *p, struct clip_error *error)
{
    clip_status status;
    const struct clip_embedder *e = call->api->embedder;
    int64_t dim = call->index->dim, n = asked->label_count;
    float *rows = NULL, *image = NULL;
    CLIP_NEW(rows, n * dim);
    CLIP_NEW(image, dim);
    CLIP_TRY(embed_labels(call, asked, rows, error));
    CLIP_TRY(clip_query_embed(&asked->query, e, call->index, image, NULL, error));
    clip_similarity(p, image, 1, rows, n, dim);
    clip_embedder_probabilities(e, p, 1, n);
out:
    free(rows);
    free(image);
    return status;
}

static clip_status answer(const struct clip_api_asked *asked, const double *p, json_t **out,
                          struct clip_error *error)
{
    clip_status status = CLIP_OK;
    json_t *labels = json_array();
    for (int64_t i = 0; i < asked->label_count; i++)
        CLIP_TRY(clip_json_add(labels, error, "{s:s, s:f}", "label", asked->labels[i],
                               "probability", p[i]));
    CLIP_TRY(clip_json_pack(out, error, "{s:O}", "labels", labels));
out:
    json_decref(labels);
    return status;
}

/* The query is the one image that was given. */
static bool is_complete(const struct clip_api_asked *asked, struct clip_api_response *out)
{
    if (asked->label_count > 0 && asked->query.count == 1) return true;
    clip_api_refuse(out, 400, "give at least one label, and one image: its number, or in the body");
    return false;
}

void clip_api_classify(const struct clip_api_call *call, struct clip_api_response *out)
{
    struct clip_api_asked asked;
    struct clip_error error;
    double p[CLIP_API_LABELS];
    json_t *labels = NULL;
    if (clip_api_take(call, CLIP_API_CLASSIFY, &asked, out) && is_complete(&asked, out)) {
        pthread_mutex_lock(&call->api->computing);
        clip_status status = classify(call, &asked, p, &error);
        pthread_mutex_unlock(&call->api->computing);
        if (status != CLIP_OK)
            clip_api_refuse_failure(out, true, &error);
        else if (answer(&asked, p, &labels, &error) != CLIP_OK)
            clip_api_refuse_failure(out, false, &error);
        else
            clip_api_answer_json(out, labels);
    }
    clip_api_asked_release(&asked);
}
