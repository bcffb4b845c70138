#include "formats/model_adapter.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "formats/layout.h"
#include "kernels/gemm.h"

#define CONFIG_LIMIT ((size_t)16 << 20) /* bytes of an adapter_config.json */
enum { MOST_RANK = 1 << 16 };

static const char config_name[] = "adapter_config.json";

void clip_adapter_release(struct clip_adapter *adapter)
{
    free(adapter->weights);
    free(adapter->base);
    *adapter = (struct clip_adapter){0};
}

/* ---- the config ---- */

/* Nothing, false, null, "none", an empty list or object: not asked for. */
static bool is_unset(const json_t *value)
{
    if (json_is_string(value)) return strcmp(json_string_value(value), "none") == 0;
    if (json_is_array(value)) return json_array_size(value) == 0;
    if (json_is_object(value)) return json_object_size(value) == 0;
    return value == NULL || json_is_null(value) || json_is_false(value);
}

static clip_status take_config(struct clip_adapter *out, const json_t *root, const char *path,
                               struct clip_error *error)
{
    static const char *const beyond[] = {"use_dora",     "fan_in_fan_out", "bias",
                                         "rank_pattern", "alpha_pattern",  "modules_to_save"};
    const char *type = json_string_value(json_object_get(root, "peft_type"));
    const char *base = json_string_value(json_object_get(root, "base_model_name_or_path"));
    double alpha = json_number_value(json_object_get(root, "lora_alpha"));
    if (type == NULL || strcmp(type, "LORA") != 0)
        return clip_fail(error, CLIP_ERR_DATA, "%s: \"peft_type\" is %s%.40s; only LORA is read",
                         path, type != NULL ? "" : "missing", type != NULL ? type : "");
    for (size_t i = 0; i < sizeof beyond / sizeof *beyond; i++)
        if (!is_unset(json_object_get(root, beyond[i])))
            return clip_fail(error, CLIP_ERR_DATA,
                             "%s: \"%s\" is set, which cannot be merged here; merge the adapter "
                             "with PEFT (merge_and_unload) and give the whole model",
                             path, beyond[i]);
    out->rank = json_integer_value(json_object_get(root, "r"));
    if (out->rank < 1 || out->rank > MOST_RANK || !(fabs(alpha) < 1e9))
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "%s: \"r\" and \"lora_alpha\" are not there as numbers that a path can "
                         "have; use another copy",
                         path);
    out->scale = json_is_true(json_object_get(root, "use_rslora")) ? alpha / sqrt((double)out->rank)
                                                                   : alpha / (double)out->rank;
    if (base == NULL || *base == '\0')
        return clip_fail(error, CLIP_ERR_DATA,
                         "%s: \"base_model_name_or_path\" does not name the model that the paths "
                         "belong to; write its path there",
                         path);
    out->base = clip_string_copy(base, error);
    return out->base != NULL ? CLIP_OK : CLIP_ERR_MEMORY;
}

clip_status clip_adapter_parse(struct clip_adapter *out, const char *json, size_t n,
                               const char *path, struct clip_error *error)
{
    *out = (struct clip_adapter){0};
    json_t *root = clip_json_parse(json, n, path, error);
    if (root == NULL) return error->status;
    clip_status status = take_config(out, root, path, error);
    json_decref(root);
    if (status != CLIP_OK) clip_adapter_release(out);
    return status;
}

/* *out = folder/name where that is there, else NULL. */
static clip_status look(const char *folder, const char *name, char **out, struct clip_error *error)
{
    *out = clip_path_join(folder, name, error);
    if (*out == NULL) return CLIP_ERR_MEMORY;
    if (clip_path_exists(*out)) return CLIP_OK;
    free(*out);
    *out = NULL;
    return CLIP_OK;
}

/* A base that is not there as its path counts from here may lie as it counts from the adapter. */
static clip_status find_base(struct clip_adapter *adapter, const char *folder,
                             struct clip_error *error)
{
    char *beside = NULL;
    if (adapter->base[0] == '/' || clip_path_exists(adapter->base)) return CLIP_OK;
    clip_status status = look(folder, adapter->base, &beside, error);
    if (beside == NULL) return status;
    free(adapter->base);
    adapter->base = beside;
    return CLIP_OK;
}

clip_status clip_adapter_find(struct clip_adapter *out, const char *model, struct clip_error *error)
{
    static const char *const names[] = {"adapter_model.safetensors", "adapter_model.bin"};
    clip_status status = CLIP_OK;
    char *folder = NULL, *config = NULL, *weights = NULL;
    struct clip_buffer text = {0};
    bool is_folder = clip_path_is_folder(model), named = false;
    *out = (struct clip_adapter){0};
    for (int i = 0; i < 2; i++) named = named || strcmp(clip_path_name(model), names[i]) == 0;
    if (!is_folder && !named) return CLIP_OK;
    folder = is_folder ? clip_string_copy(model, error) : clip_path_folder(model, error);
    if (folder == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
    CLIP_TRY(look(folder, config_name, &config, error));
    if (config == NULL) goto out;
    for (int i = 0; i < 2 && weights == NULL; i++)
        CLIP_TRY(look(folder, is_folder ? names[i] : clip_path_name(model), &weights, error));
    if (weights == NULL)
        CLIP_TRY(
            clip_fail(error, CLIP_ERR_NOT_FOUND, "%s: there is no %s beside it", config, names[0]));
    CLIP_TRY(clip_file_read(config, CONFIG_LIMIT, &text, error));
    CLIP_TRY(clip_adapter_parse(out, text.data, text.size, config, error));
    CLIP_TRY(find_base(out, folder, error));
    out->weights = weights;
    weights = NULL;
out:
    free(folder);
    free(config);
    free(weights);
    clip_buffer_release(&text);
    if (status != CLIP_OK) clip_adapter_release(out);
    return status;
}

/* ---- merging ---- */

struct merging {
    const struct clip_adapter *adapter;
    struct clip_model_file *file;
    struct clip_bundle paths;
    bool *used; /* [paths.tensor_count] */
};

/* The A or B of a module: its number in the bundle, -1 where it is not there. */
static int64_t side_of(const struct merging *m, const char *weight, const char *side,
                       char name[2 * CLIP_NAME_SIZE])
{
    snprintf(name, 2 * CLIP_NAME_SIZE, "base_model.model.%.*s.lora_%s.weight",
             (int)(strlen(weight) - strlen(".weight")), weight, side);
    return clip_bundle_number(&m->paths, name);
}

/* c [rows,columns] += scale B A, both as float32 in scratch memory; transposed where the file's
 * weight is. */
static clip_status add_path(struct merging *m, const char *weight, bool transposed, float *c,
                            int64_t rows, int64_t columns, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    char a_name[2 * CLIP_NAME_SIZE], b_name[2 * CLIP_NAME_SIZE];
    int64_t r = m->adapter->rank, n = transposed ? columns : rows, d = transposed ? rows : columns;
    int64_t a = side_of(m, weight, "A", a_name), b = side_of(m, weight, "B", b_name);
    float *a_data = NULL, *b_data = NULL;
    if (a < 0 && b < 0) return CLIP_OK;
    if (a < 0 || b < 0)
        return clip_fail(error, CLIP_ERR_DATA, "%s has \"%s\" but not \"%s\"; use another copy",
                         m->adapter->weights, a < 0 ? b_name : a_name, a < 0 ? a_name : b_name);
    m->used[a] = m->used[b] = true;
    if (c == NULL) return CLIP_OK; /* of the tower that is not read */
    CLIP_NEW(a_data, r * d);
    CLIP_NEW(b_data, n * r);
    struct clip_tensor a_want = clip_tensor_f32(a_data, r, d);
    struct clip_tensor b_want = clip_tensor_f32(b_data, n, r);
    CLIP_TRY(clip_bundle_copy(&m->paths, a_name, &a_want, error));
    CLIP_TRY(clip_bundle_copy(&m->paths, b_name, &b_want, error));
    struct clip_gemm product = {.m = rows,
                                .n = columns,
                                .k = r,
                                .accumulate = true,
                                .alpha = (float)m->adapter->scale,
                                .c = {c, columns},
                                .a = {b_data, r},
                                .b = {a_data, d}};
    if (transposed) {
        product.a = (struct clip_operand){a_data, d, .transpose = true};
        product.b = (struct clip_operand){b_data, r, .transpose = true};
    }
    clip_gemm(&product);
out:
    free(a_data);
    free(b_data);
    if (status != CLIP_OK && !clip_machine_failed(status))
        clip_error_prefix(error, "%s", m->adapter->weights);
    return status;
}

/* A matrix of ours with the paths of the modules that it stands for. */
static clip_status merge_param(struct merging *m, struct clip_param *param,
                               struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_place place;
    char name[2 * CLIP_NAME_SIZE];
    const struct clip_tensor *t = &param->tensor;
    float *own = NULL;
    bool any = false;
    if (t->ndim != 2 || !clip_layout_place(CLIP_LAYOUT_HUGGINGFACE, param->name, &place) ||
        place.fit == CLIP_FIT_ROWS)
        return CLIP_OK;
    for (int i = 0; i < place.count; i++) {
        if (!clip_path_has_suffix(place.names[i], ".weight")) return CLIP_OK;
        any = any || side_of(m, place.names[i], "A", name) >= 0 ||
              side_of(m, place.names[i], "B", name) >= 0;
    }
    if (!any) return CLIP_OK;
    int64_t rows = t->shape[0] / place.count, columns = t->shape[1];
    if (t->data != NULL) {
        own = clip_arena_alloc(&m->file->weights.arena, rows * place.count * columns, sizeof *own,
                               error);
        if (own == NULL) return CLIP_ERR_MEMORY;
        memcpy(own, t->data, (size_t)(rows * place.count * columns) * sizeof *own);
        param->tensor.data = own;
    }
    for (int i = 0; i < place.count; i++)
        CLIP_TRY(add_path(m, place.names[i], place.fit == CLIP_FIT_TRANSPOSED,
                          own != NULL ? own + i * rows * columns : NULL, rows, columns, error));
out:
    return status;
}

clip_status clip_adapter_merge(const struct clip_adapter *adapter, struct clip_model_file *file,
                               struct clip_error *error)
{
    clip_status status;
    struct merging m = {.adapter = adapter, .file = file};
    char *source = NULL;
    CLIP_TRY(clip_path_has_suffix(adapter->weights, ".bin")
                 ? clip_torch_read(adapter->weights, &m.paths, error)
                 : clip_safetensors_read(adapter->weights, &m.paths, error));
    CLIP_NEW(m.used, m.paths.tensor_count);
    for (int64_t i = 0; i < file->model->param_count; i++)
        CLIP_TRY(merge_param(&m, &file->model->params[i], error));
    for (int64_t i = 0; i < m.paths.tensor_count; i++)
        if (!m.used[i])
            CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                               "%s: \"%.200s\" has no place in the model %s; name the model that "
                               "the paths were trained for in %s",
                               adapter->weights, m.paths.tensors[i].name, file->source,
                               config_name));
    source = clip_string_copy(adapter->weights, error);
    if (source == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
    free(file->source);
    file->source = source;
out:
    free(m.used);
    clip_bundle_release(&m.paths);
    return status;
}
