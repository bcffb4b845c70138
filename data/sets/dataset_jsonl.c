/* jsonl (one JSON object per line), and a .json file that is one array of such objects. A row names
 * its image and its caption by the usual keys; if the caption is a list of texts, each of them is a
 * sample. */
#include <string.h>

#include "core/json.h"
#include "data/sets/dataset_internal.h"

static clip_status add_pair(struct clip_rows *rows, const json_t *image, const json_t *caption,
                            const json_t *negative, int64_t line, struct clip_error *error)
{
    struct clip_row row = {.line = line,
                           .image = json_string_value(image),
                           .image_size = json_string_length(image),
                           .negative = json_string_value(negative),
                           .negative_size = json_string_length(negative)};
    if (caption != NULL && !json_is_string(caption))
        return clip_rows_add_problem(rows, "the caption is no text", line, error);
    if (caption != NULL) row.caption = json_string_value(caption);
    if (caption != NULL) row.caption_size = json_string_length(caption);
    return clip_rows_add(rows, &row, error);
}

clip_status clip_rows_add_json(struct clip_rows *rows, const json_t *object, int64_t line,
                               const struct clip_dataset_options *options, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    if (!json_is_object(object))
        return clip_rows_add_problem(
            rows,
            "this is no JSON object; expected {\"filepath\": ..., \"title\": "
            "...}",
            line, error);
    const json_t *image = clip_json_image(object, options->csv_img_key);
    int64_t captions = clip_json_captions(object, options->csv_caption_key);
    if (!json_is_string(image))
        return clip_rows_add_problem(rows,
                                     "there is no image's path; name its key by csv_img_key "
                                     "(filepath, image, file_name and path are found)",
                                     line, error);
    const char *key = options->csv_negative_key;
    const json_t *negative = key != NULL && key[0] != '\0' ? json_object_get(object, key) : NULL;
    if (options->images_only) return add_pair(rows, image, NULL, NULL, line, error);
    if (captions == 0)
        return clip_rows_add_problem(rows,
                                     "there is no caption; name its key by csv_caption_key (title, "
                                     "caption and text are found)",
                                     line, error);
    for (int64_t i = 0; i < captions; i++)
        CLIP_TRY(add_pair(rows, image, clip_json_caption(object, options->csv_caption_key, i),
                          negative, line, error));
out:
    return status;
}

static clip_status add_line(struct clip_rows *rows, const char *bytes, size_t n, int64_t line,
                            clip_rows_adder *add, const struct clip_dataset_options *options,
                            struct clip_error *error)
{
    json_error_t fault;
    char problem[256];
    json_t *object = clip_json_load(bytes, n, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &fault);
    if (object == NULL && json_error_code(&fault) == json_error_out_of_memory)
        return clip_fail(error, CLIP_ERR_MEMORY, "memory is short for reading line %lld",
                         (long long)line);
    if (object == NULL) {
        snprintf(problem, sizeof problem, "the line is not valid JSON: %s", fault.text);
        return clip_rows_add_problem(rows, problem, line, error);
    }
    clip_status status = add(rows, object, line, options, error);
    json_decref(object);
    return status;
}

clip_status clip_rows_add_lines(struct clip_rows *rows, const char *bytes, size_t n,
                                clip_rows_adder *add, const struct clip_dataset_options *options,
                                struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const char *at = bytes, *end = bytes + n;
    if (n >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0) at += 3;
    for (int64_t line = 1; at < end; line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t size = (size_t)((stop != NULL ? stop : end) - at);
        if (!clip_dataset_is_blank(at, size))
            CLIP_TRY(add_line(rows, at, size, line, add, options, error));
        at += size + (stop != NULL);
    }
out:
    return status;
}

clip_status clip_dataset_jsonl_parse(struct clip_dataset **out, const char *bytes, size_t n,
                                     const char *path, const struct clip_dataset_options *options,
                                     struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_rows *rows = NULL;
    *out = NULL;
    CLIP_TRY(clip_rows_create(&rows, "jsonl", path, options, error));
    CLIP_TRY(clip_rows_add_lines(rows, bytes, n, clip_rows_add_json, options, error));
    if (clip_rows_count(rows) == 0)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                           "%s has no rows; each line is to be a JSON object as in {\"filepath\": "
                           "\"a.jpg\", \"title\": \"a dog\"}",
                           path));
    CLIP_TRY(clip_rows_check(rows, error));
    *out = clip_rows_finish(&rows);
out:
    clip_rows_free(rows);
    return status;
}

clip_status clip_dataset_jsonl_open(struct clip_dataset **out, const char *path,
                                    const struct clip_dataset_options *options,
                                    struct clip_error *error)
{
    return clip_dataset_parse_file(out, path, clip_dataset_jsonl_parse, options, error);
}
