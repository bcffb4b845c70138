#include "data/demo/demo_set.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/threads.h"
#include "data/image/image.h"
#include "data/text/tokenizer.h"

struct job {
    const struct clip_demo_images *images;
    int64_t first;             /* the number of the portion's first image */
    int64_t *failed;           /* per thread: the lowest number of an image that failed, or -1 */
    struct clip_error *errors; /* per thread: its error */
};

static clip_status write_plainly(const char *path, const struct clip_buffer *bytes,
                                 struct clip_error *error)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL)
        return clip_fail(error, clip_status_of(errno), "%s cannot be written: %s", path,
                         strerror(errno));
    bool whole = fwrite(bytes->data, 1, bytes->size, file) == bytes->size;
    int reason = errno;
    if (fclose(file) != 0 && whole) {
        reason = errno;
        whole = false;
    }
    if (whole) return CLIP_OK;
    return clip_fail(error, clip_status_of(reason),
                     "%s cannot be written whole: %s; make room or choose another --output", path,
                     strerror(reason));
}

static clip_status write_image(const struct clip_demo_images *p, int64_t number,
                               struct clip_error *error)
{
    struct clip_image image = {.width = p->size, .height = p->size};
    struct clip_buffer png = {0};
    char name[CLIP_DEMO_NAME], *path = NULL;
    clip_status status = CLIP_OK;
    p->name(p->context, number, name);
    CLIP_NEW(image.rgb, p->size * p->size * 3);
    CLIP_TRY(p->draw(p->context, number, image.rgb, error));
    CLIP_TRY(clip_image_encode_png(&image, &png, error));
    CLIP_TRY((path = clip_path_join(p->output, name, error)) != NULL ? CLIP_OK : CLIP_ERR_MEMORY);
    CLIP_TRY(write_plainly(path, &png, error));
out:
    free(path);
    clip_buffer_release(&png);
    free(image.rgb);
    return status;
}

static void run_job(void *context, int64_t i)
{
    struct job *job = context;
    int thread = clip_thread_number();
    int64_t number = job->first + i;
    struct clip_error error = {0};
    if (job->failed[thread] >= 0 && job->failed[thread] < number) return;
    if (write_image(job->images, number, &error) == CLIP_OK) return;
    job->failed[thread] = number;
    job->errors[thread] = error;
}

/* Makes the folders of n images from number `first` on. */
static clip_status make_folders(const struct clip_demo_images *p, int64_t first, int64_t n,
                                struct clip_error *error)
{
    clip_status status = CLIP_OK;
    char made[CLIP_DEMO_NAME] = "", *folder = NULL;
    for (int64_t number = first; number < first + n; number++) {
        char name[CLIP_DEMO_NAME];
        p->name(p->context, number, name);
        char *slash = strrchr(name, '/');
        if (slash == NULL) continue;
        *slash = '\0';
        if (strcmp(name, made) == 0) continue;
        memcpy(made, name, sizeof made);
        CLIP_TRY((folder = clip_path_join(p->output, name, error)) != NULL ? CLIP_OK
                                                                           : CLIP_ERR_MEMORY);
        CLIP_TRY(clip_folder_create(folder, error));
        free(folder);
        folder = NULL;
    }
out:
    free(folder);
    return status;
}

clip_status clip_demo_write_images(const struct clip_demo_images *images,
                                   struct clip_progress *progress, int64_t *done,
                                   struct clip_error *error)
{
    enum { PORTION = 512 }; /* progress is shown between portions */
    struct job job = {.images = images};
    int threads = clip_threads_count();
    clip_status status = CLIP_OK;
    CLIP_NEW(job.failed, threads);
    CLIP_NEW(job.errors, threads);
    for (int t = 0; t < threads; t++) job.failed[t] = -1;
    for (; job.first < images->count; job.first += PORTION) {
        int64_t left = images->count - job.first, n = left < PORTION ? left : PORTION;
        CLIP_TRY(make_folders(images, job.first, n, error));
        clip_parallel_for(n, run_job, &job);
        int worst = -1;
        for (int t = 0; t < threads; t++)
            if (job.failed[t] >= 0 && (worst < 0 || job.failed[t] < job.failed[worst])) worst = t;
        if (worst >= 0) {
            *error = job.errors[worst];
            CLIP_TRY(error->status);
        }
        *done += n;
        clip_progress_update(progress, *done, NULL);
    }
out:
    free(job.failed);
    free(job.errors);
    return status;
}

clip_status clip_demo_write_text(const char *output, const char *name,
                                 const struct clip_buffer *text, struct clip_error *error)
{
    char *path = clip_path_join(output, name, error);
    if (path == NULL) return CLIP_ERR_MEMORY;
    clip_status status = clip_file_write(path, text->data, text->size, error);
    free(path);
    return status;
}

clip_status clip_demo_write_tokenizer(const char *output, const struct clip_names *captions,
                                      int64_t vocab_size, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer text = {0};
    size_t *sizes = NULL;
    CLIP_NEW(sizes, captions->count);
    for (int64_t i = 0; i < captions->count; i++) sizes[i] = strlen(captions->names[i]);
    CLIP_TRY(clip_tokenizer_train((const char *const *)captions->names, sizes, captions->count,
                                  vocab_size, CLIP_TEXT_OPEN_CLIP, &text, error));
    CLIP_TRY(clip_demo_write_text(output, "tokenizer.txt", &text, error));
out:
    free(sizes);
    clip_buffer_release(&text);
    return status;
}

clip_status clip_demo_check_range(const char *option, int64_t value, int64_t low, int64_t high,
                                  struct clip_error *error)
{
    if (value >= low && value <= high) return CLIP_OK;
    return clip_fail(error, CLIP_ERR_USAGE,
                     "%s %lld is out of range; give a number from %lld to %lld", option,
                     (long long)value, (long long)low, (long long)high);
}
