#include "train/data_mark.h"

#include <stdio.h>
#include <string.h>

#include "core/count.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/json.h"

enum { LOOKED_AT = 20000 };

/* Chains the hash of the bytes to `mark`. */
static uint64_t chain(uint64_t mark, const void *bytes, size_t n)
{
    const uint64_t pair[2] = {mark, clip_hash64(bytes, n)};
    return clip_hash64(pair, sizeof pair);
}

static uint64_t mark_of_lines(char *const *lines, int64_t count)
{
    uint64_t mark = 0;
    for (int64_t i = 0; i < count; i++) mark = chain(mark, lines[i], strlen(lines[i]));
    return mark;
}

static void write_mark(char out[17], uint64_t mark)
{
    snprintf(out, 17, "%016llx", (unsigned long long)mark);
}

/* Only a name's last part counts: a set may be moved. Of a stream's samples those of the first
 * shard are looked at, and of the others the names. A caption that cannot be read is one of a bad
 * sample. */
static clip_status mark_of_set(json_t **out, const struct clip_dataset *whole,
                               struct clip_error *error)
{
    const struct clip_dataset *set = clip_dataset_example(whole);
    struct clip_buffer caption = {0};
    clip_status status = CLIP_OK;
    uint64_t mark = 0;
    char text[17];
    int64_t looked = set->count < LOOKED_AT ? set->count : LOOKED_AT;
    for (int64_t k = 0; k < whole->shard_count; k++) {
        const char *name = clip_path_name(whole->ops->image_name(whole, k));
        mark = chain(mark, name, strlen(name));
    }
    for (int64_t k = 0; k < looked; k++) {
        int64_t i = (int64_t)((double)k * (double)set->count / (double)looked);
        const char *name = clip_path_name(set->ops->image_name(set, i));
        mark = chain(mark, name, strlen(name));
        status = set->ops->caption(set, i, NULL, &caption, error);
        if (clip_machine_failed(status)) goto out;
        bool good = status == CLIP_OK;
        mark = chain(mark, good ? caption.data : "", good ? caption.size : 0);
    }
    write_mark(text, mark);
    CLIP_TRY(clip_json_pack(out, error, "{s:I, s:s}", "samples", (json_int_t)whole->count, "mark",
                            text));
out:
    clip_buffer_release(&caption);
    return status;
}

json_t *clip_data_mark(const struct clip_setup *setup, struct clip_error *error)
{
    char tokenizer[17], lines[17];
    const struct clip_templates *templates = clip_dataset_example(setup->train_data)->templates;
    bool has_templates = templates != NULL && templates->count > 0;
    write_mark(tokenizer, chain(0, setup->tokenizer->text.data, setup->tokenizer->text.size));
    write_mark(lines, has_templates ? mark_of_lines(templates->lines, templates->count) : 0);
    json_t *train = NULL, *val = NULL, *mark = NULL;
    if (mark_of_set(&train, setup->train_data, error) != CLIP_OK) return NULL;
    if (setup->val_data != NULL && mark_of_set(&val, setup->val_data, error) != CLIP_OK) {
        json_decref(train);
        return NULL;
    }
    clip_json_pack(&mark, error, "{s:o, s:o?, s:s, s:s?}", "train_data", train, "val_data", val,
                   "tokenizer", tokenizer, "templates", has_templates ? lines : NULL);
    return mark;
}

static clip_status add(struct clip_buffer *out, const char *what, struct clip_error *error)
{
    return clip_buffer_printf(out, error, "%s%s", out->size > 0 ? ", and " : "", what);
}

clip_status clip_data_mark_differences(const json_t *before, const json_t *now,
                                       struct clip_buffer *out, struct clip_error *error)
{
    static const char *const sets[] = {"train_data", "val_data"};
    static const char *const files[] = {"tokenizer", "templates"};
    clip_status status = CLIP_OK;
    char text[160];
    for (int i = 0; i < 2; i++) {
        const json_t *a = json_object_get(before, sets[i]), *b = json_object_get(now, sets[i]);
        if (!json_is_object(a) || !json_is_object(b) || json_equal(a, b)) continue;
        long long had = json_integer_value(json_object_get(a, "samples"));
        long long has = json_integer_value(json_object_get(b, "samples"));
        if (had != has)
            snprintf(text, sizeof text, "%s had %s and has %lld", sets[i],
                     CLIP_COUNT(had, "sample"), has);
        else
            snprintf(text, sizeof text, "%s has other samples or captions than it had", sets[i]);
        CLIP_TRY(add(out, text, error));
    }
    for (int i = 0; i < 2; i++) {
        const json_t *a = json_object_get(before, files[i]), *b = json_object_get(now, files[i]);
        if (a == NULL || b == NULL || json_equal(a, b)) continue;
        snprintf(text, sizeof text, "the %s %s other than before", files[i], i > 0 ? "are" : "is");
        CLIP_TRY(add(out, text, error));
    }
out:
    return status;
}
