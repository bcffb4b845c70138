/* Which of some words fits an image best.
 *
 *     cc classify.c -o classify $(pkg-config --cflags --libs clip)
 *     ./classify MODEL image.jpg "a dog" "a cat" "a red circle"
 */
#include <clip/clip.h>

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: classify MODEL IMAGE LABEL...\n");
        return 2;
    }
    const char *const *labels = (const char *const *)argv + 3;
    int64_t m = argc - 3;
    struct clip_error error;
    struct clip_embedder *embedder = NULL;
    float *image = NULL, *texts = NULL;
    double *probabilities = malloc((size_t)m * sizeof *probabilities);
    int failed = 1;

    if (clip_embedder_open(&embedder, argv[1], NULL, &error) != CLIP_OK) goto out;
    int64_t dim = clip_embedder_dim(embedder);
    image = malloc((size_t)dim * sizeof *image);
    texts = malloc((size_t)(m * dim) * sizeof *texts);
    if (!image || !texts || !probabilities) abort();

    const struct clip_image_source file = {.path = argv[2]};
    if (clip_embedder_images(embedder, &file, 1, CLIP_UNIT, image, NULL, &error) != CLIP_OK)
        goto out;
    if (clip_embedder_texts(embedder, labels, m, CLIP_UNIT, texts, NULL, &error) != CLIP_OK)
        goto out;
    clip_similarity(probabilities, image, 1, texts, m, dim);
    clip_embedder_probabilities(embedder, probabilities, 1, m);
    for (int64_t i = 0; i < m; i++) printf("%5.1f %%  %s\n", 100 * probabilities[i], labels[i]);
    failed = 0;
out:
    if (failed) fprintf(stderr, "classify: %s\n", error.message);
    clip_embedder_free(embedder);
    free(probabilities);
    free(texts);
    free(image);
    return failed;
}
