#include "guide/guide_run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/chart.h"
#include "core/count.h"
#include "core/file.h"
#include "core/json.h"
#include "core/progress.h"

struct painting {
    struct clip_guide *guide;
    const struct clip_guide_options *options;
    const struct clip_guide_run_options *how;
    struct clip_image image; /* the image as it is now */
    float *cosines;
    struct clip_buffer lines;                /* the lines of curve.jsonl */
    double *steps, *objectives, *similarity; /* [options.steps + 1], for curve.svg */
    int64_t done, frames;
};

/* ---- the folder ---- */

static bool is_ours(const char *name)
{
    static const char *const names[] = {"image.png", "curve.jsonl", "curve.svg"};
    for (int i = 0; i < 3; i++)
        if (strcmp(name, names[i]) == 0) return true;
    return strncmp(name, "frame_", 6) == 0 && clip_path_has_suffix(name, ".png") &&
           strspn(name + 6, "0123456789") == strlen(name) - strlen("frame_.png");
}

static clip_status prepare(const struct clip_guide_run_options *how, struct clip_error *error)
{
    clip_status status;
    struct clip_names names = {0};
    char *path = NULL;
    CLIP_TRY(clip_folder_create(how->output, error));
    CLIP_TRY(clip_folder_list(how->output, &names, error));
    for (int64_t i = 0; i < names.count; i++) {
        if (!is_ours(names.names[i])) continue;
        if (!how->force)
            CLIP_TRY(clip_fail(error, CLIP_ERR_USAGE,
                               "%s holds a painting already (%s); choose another folder, or give "
                               "--force to replace it",
                               how->output, names.names[i]));
        free(path);
        path = clip_path_join(how->output, names.names[i], error);
        CLIP_TRY(path != NULL ? CLIP_OK : error->status);
        if (unlink(path) != 0)
            CLIP_TRY(clip_fail(error, clip_status_of(errno), "%s cannot be removed: %s", path,
                               strerror(errno)));
    }
out:
    free(path);
    clip_names_release(&names);
    return status;
}

/* ---- what is written ---- */

static clip_status write_image(struct painting *p, const char *name, struct clip_error *error)
{
    clip_status status;
    char *path = clip_path_join(p->how->output, name, error);
    CLIP_TRY(path != NULL ? CLIP_OK : error->status);
    clip_guide_image(p->guide, p->image.rgb);
    CLIP_TRY(clip_image_write_png(path, &p->image, error));
out:
    free(path);
    return status;
}

static clip_status add_line(struct painting *p, const struct clip_guide_result *r, bool frame,
                            struct clip_error *error)
{
    clip_status status = CLIP_OK;
    json_t *cosines = json_array(), *line = NULL;
    for (int64_t i = 0; frame && i < p->options->text_count + p->options->minus_count; i++)
        clip_json_push(&cosines, json_real((double)p->cosines[i]));
    line = json_pack("{s:I, s:f, s:f, s:f}", "step", (json_int_t)p->done, "objective", r->objective,
                     "similarity", r->similarity, "variation", r->variation);
    if (line == NULL || cosines == NULL ||
        (frame && json_object_set(line, "cosines", cosines) != 0))
        CLIP_TRY(clip_fail(error, CLIP_ERR_MEMORY, "out of memory after %s",
                           CLIP_COUNT(p->done, "step")));
    CLIP_TRY(clip_json_append(&p->lines, line, error));
    CLIP_TRY(clip_buffer_append(&p->lines, "\n", 1, error));
out:
    json_decref(line);
    json_decref(cosines);
    return status;
}

/* Writes the image as it is now as a frame, and its cosines. */
static clip_status add_frame(struct painting *p, struct clip_error *error)
{
    clip_status status;
    char name[64];
    snprintf(name, sizeof name, "frame_%05lld.png", (long long)p->done);
    CLIP_TRY(write_image(p, name, error));
    CLIP_TRY(clip_guide_cosines(p->guide, p->cosines, error));
    p->frames++;
out:
    return status;
}

static clip_status write_curve(struct painting *p, struct clip_error *error)
{
    clip_status status;
    char *jsonl = clip_path_join(p->how->output, "curve.jsonl", error), *svg = NULL;
    const struct clip_chart_series series[] = {
        {"the whole image", p->steps, p->similarity, p->done, 0},
        {"mean of the views", p->steps, p->objectives, p->done, 1},
    };
    const struct clip_chart chart = {"similarity", "steps", series, 2, false};
    CLIP_TRY(jsonl != NULL ? CLIP_OK : error->status);
    svg = clip_path_join(p->how->output, "curve.svg", error);
    CLIP_TRY(svg != NULL ? CLIP_OK : error->status);
    CLIP_TRY(
        clip_file_write(jsonl, p->lines.data != NULL ? p->lines.data : "", p->lines.size, error));
    CLIP_TRY(clip_chart_file(svg, &chart, error));
out:
    free(jsonl);
    free(svg);
    return status;
}

/* ---- painting ---- */

static clip_status paint(struct painting *p, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_progress progress;
    struct clip_guide_result r;
    char note[64];
    bool stop = false;
    clip_progress_start(&progress, "painting", "step", 0, p->options->steps, p->how->quiet);
    while (p->done < p->options->steps && !stop) {
        bool frame = p->done % p->how->frame_every == 0;
        if (frame) CLIP_TRY(add_frame(p, error));
        CLIP_TRY(clip_guide_step(p->guide, &r, error));
        CLIP_TRY(add_line(p, &r, frame, error));
        p->steps[p->done] = (double)p->done;
        p->objectives[p->done] = r.objective;
        p->similarity[p->done] = r.similarity;
        p->done = r.step;
        snprintf(note, sizeof note, "similarity %.3f", r.similarity);
        clip_progress_update(&progress, p->done, note);
        stop = p->how->stop != NULL && *p->how->stop != 0;
    }
    CLIP_TRY(add_frame(p, error));
    CLIP_TRY(write_image(p, "image.png", error));
    CLIP_TRY(write_curve(p, error));
    if (stop && p->done < p->options->steps)
        status = clip_fail(error, CLIP_ERR_INTERRUPTED,
                           "stopped by a signal after %lld of %s; what there is is in %s",
                           (long long)p->done, CLIP_COUNT(p->options->steps, "step"),
                           p->how->output);
out:
    clip_progress_end(&progress);
    return status;
}

clip_status clip_guide_run(struct clip_guide *guide, const struct clip_guide_options *options,
                           const struct clip_guide_run_options *how,
                           struct clip_guide_outcome *outcome, struct clip_error *error)
{
    clip_status status;
    struct painting p = {.guide = guide, .options = options, .how = how};
    int64_t n = options->size, texts = options->text_count, minus = options->minus_count;
    *outcome = (struct clip_guide_outcome){0};
    p.image = (struct clip_image){.width = n, .height = n};
    CLIP_NEW(p.image.rgb, n * n * 3);
    CLIP_NEW(p.cosines, texts + minus);
    CLIP_NEW(p.steps, options->steps);
    CLIP_NEW(p.objectives, options->steps);
    CLIP_NEW(p.similarity, options->steps);
    CLIP_TRY(prepare(how, error));
    CLIP_TRY(paint(&p, error));
    outcome->steps = p.done;
    outcome->frames = p.frames;
    for (int64_t i = 0; i < texts; i++) outcome->similarity += (double)p.cosines[i] / (double)texts;
    for (int64_t i = texts; i < texts + minus; i++)
        outcome->similarity -= (double)p.cosines[i] / (double)minus;
    outcome->cosines = p.cosines;
    p.cosines = NULL;
out:
    clip_image_release(&p.image);
    clip_buffer_release(&p.lines);
    free(p.cosines);
    free(p.steps);
    free(p.objectives);
    free(p.similarity);
    return status;
}
