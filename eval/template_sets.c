#include "eval/template_sets.h"

#include <string.h>

static const char *const plain[] = {"{}", NULL};

static const char *const photo[] = {
    "a photo of a {}.",
    "a photo of the {}.",
    "a photo of one {}.",
    "a photo of several {}.",
    "a photo that shows a {}.",
    "a close view of a {}.",
    "a {} seen from a distance.",
    "a {} in the foreground.",
    "a {} in the background.",
    "a photo of a {} taken outdoors.",
    "a photo of a {} taken indoors.",
    "a photo of a {} in bright light.",
    "a photo of a {} at dusk.",
    "a sharp photo of a {}.",
    "a snapshot of a {}.",
    "a holiday picture with a {}.",
    NULL,
};

static const char *const many[] = {
    "a photo of a {}.",
    "a photo of the {}.",
    "a photo of several {}.",
    "a close view of a {}.",
    "a {} seen from a distance.",
    "a dark photo of a {}.",
    "a bright photo of a {}.",
    "a blurred photo of a {}.",
    "a faded photo of a {}.",
    "a colourless photo of a {}.",
    "a photo of a small {}.",
    "a photo of a huge {}.",
    "a photo of a strange {}.",
    "a photo of a pretty {}.",
    "a photo of an old {}.",
    "a photo of a part of a {}.",
    "a photo of a {} half hidden by something.",
    "a drawing of a {}.",
    "a pencil sketch of a {}.",
    "a painting of a {}.",
    "a cartoon of a {}.",
    "a child's picture of a {}.",
    "a {} made of plastic.",
    "a {} made of cloth.",
    "a paper model of a {}.",
    "a statue of a {}.",
    "a {} in a computer game.",
    "a computer image of a {}.",
    "a tattoo of a {}.",
    "a {} on a poster.",
    "a sign that shows a {}.",
    "a toy {}.",
    NULL,
};

static const char *const small[] = {
    "a tiny picture of a {}.",
    "a blurred picture of a {}.",
    "a picture of a {} with few pixels.",
    "a photo of a {}.",
    "a photo of the {}.",
    "a small photo of one {}.",
    "a cropped picture of a {}.",
    "a dark little picture of a {}.",
    "a bright little picture of a {}.",
    "a thumbnail of a {}.",
    NULL,
};

static const char *const zh[] = {
    "{}",           "一张{}的照片。",     "一张{}的图片。", "照片里有{}。", "{}的特写。",
    "一幅{}的画。", "一张模糊的{}照片。", "远处的{}。",     NULL,
};

static clip_status copy_lines(const char *const *lines, struct clip_templates *out,
                              struct clip_error *error)
{
    int64_t n = 0;
    while (lines[n] != NULL) n++;
    *out = (struct clip_templates){0};
    out->lines = clip_arena_alloc(&out->arena, n, sizeof *out->lines, error);
    if (out->lines == NULL) return CLIP_ERR_MEMORY;
    for (; out->count < n; out->count++) {
        const char *line = lines[out->count];
        out->lines[out->count] = clip_arena_string(&out->arena, line, strlen(line), error);
        if (out->lines[out->count] == NULL) {
            clip_templates_release(out);
            return CLIP_ERR_MEMORY;
        }
    }
    return CLIP_OK;
}

static const struct {
    const char *name;
    const char *const *lines;
} sets[] = {
    {"plain", plain}, {"photo", photo}, {"many", many}, {"small", small}, {"zh", zh},
};

const char *clip_template_set_name(int set)
{
    return set >= 0 && set < (int)(sizeof sets / sizeof *sets) ? sets[set].name : NULL;
}

clip_status clip_template_set(int set, struct clip_templates *out, struct clip_error *error)
{
    return copy_lines(sets[set].lines, out, error);
}

clip_status clip_template_one(const char *line, struct clip_templates *out,
                              struct clip_error *error)
{
    const char *const lines[] = {line, NULL};
    size_t hole;
    if (clip_template_hole(line, &hole) == NULL)
        return clip_fail(error, CLIP_ERR_USAGE,
                         "the template \"%.200s\" has no {} where the label goes; write it as in "
                         "\"a photo of a {}\"",
                         line);
    return copy_lines(lines, out, error);
}
