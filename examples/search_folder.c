/* The images of a folder that fit a sentence best; what cannot be read is named and left out.
 *
 *     cc search_folder.c -o search_folder $(pkg-config --cflags --libs clip)
 *     ./search_folder MODEL photos/ "two dogs in the snow"
 */
#include <clip/clip.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOP = 10 };

/* The paths of a folder's files, those that begin with a dot left out; exits when memory is short.
 */
static struct clip_image_source *list(const char *folder, int64_t *n)
{
    struct clip_image_source *images = NULL;
    DIR *stream = opendir(folder);
    *n = 0;
    for (struct dirent *entry; stream && (entry = readdir(stream)) != NULL;) {
        if (entry->d_name[0] == '.') continue;
        char *path = malloc(strlen(folder) + strlen(entry->d_name) + 2);
        images = realloc(images, (size_t)(*n + 1) * sizeof *images);
        if (!path || !images) abort();
        sprintf(path, "%s/%s", folder, entry->d_name);
        images[(*n)++] = (struct clip_image_source){.path = path};
    }
    if (stream) closedir(stream);
    return images;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: search_folder MODEL FOLDER SENTENCE\n");
        return 2;
    }
    struct clip_error error;
    struct clip_embedder *embedder = NULL;
    int64_t n;
    struct clip_image_source *images = list(argv[2], &n);
    const char *sentence = argv[3];
    float *rows = NULL, *query = NULL;
    double *scores = malloc((size_t)(n + 1) * sizeof *scores);
    struct clip_error *failures = calloc((size_t)n + 1, sizeof *failures);
    int failed = 1;

    if (clip_embedder_open(&embedder, argv[1], NULL, &error) != CLIP_OK) goto out;
    int64_t dim = clip_embedder_dim(embedder);
    rows = malloc((size_t)(n * dim + 1) * sizeof *rows);
    query = malloc((size_t)dim * sizeof *query);
    if (!rows || !query || !scores || !failures) abort();

    if (clip_embedder_texts(embedder, &sentence, 1, CLIP_UNIT, query, NULL, &error) != CLIP_OK)
        goto out;
    if (clip_embedder_images(embedder, images, n, CLIP_UNIT, rows, failures, &error) != CLIP_OK)
        goto out;
    clip_similarity(scores, rows, n, query, 1, dim);
    for (int64_t i = 0; i < n; i++) {
        if (failures[i].status == CLIP_OK) continue;
        fprintf(stderr, "search_folder: %s\n", failures[i].message);
        scores[i] = -2; /* below every cosine */
    }
    for (int shown = 0; shown < TOP && shown < n; shown++) {
        int64_t best = 0;
        for (int64_t i = 1; i < n; i++)
            if (scores[i] > scores[best]) best = i;
        if (scores[best] < -1.5) break;
        printf("%.3f  %s\n", scores[best], images[best].path);
        scores[best] = -2;
    }
    failed = 0;
out:
    if (failed) fprintf(stderr, "search_folder: %s\n", error.message);
    for (int64_t i = 0; i < n; i++) free((char *)images[i].path);
    free(images);
    free(failures);
    free(scores);
    free(query);
    free(rows);
    clip_embedder_free(embedder);
    return failed;
}
