/* A program that loads the library, embeds with several threads, unloads it, and goes on: the
 * threads that the library's OpenMP keeps for the next call live on in code that has to stay.
 *
 *     unload LIBRARY MODEL */
#include <clip/clip.h>

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void *symbol(void *library, const char *name)
{
    void *found = dlsym(library, name);
    if (found == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    return found;
}

static int embed(void *library, const char *model)
{
    static const char *const texts[] = {"a gray one", "a red one", "gray", "red", "an image"};
    struct clip_embedder *e = NULL;
    struct clip_error error;
    clip_status status;
    float *rows = NULL;
    __typeof__(&clip_embedder_open_sized) open = symbol(library, "clip_embedder_open_sized");
    __typeof__(&clip_embedder_dim) dim = symbol(library, "clip_embedder_dim");
    __typeof__(&clip_embedder_texts) embed_texts = symbol(library, "clip_embedder_texts");
    __typeof__(&clip_embedder_free) release = symbol(library, "clip_embedder_free");
    __typeof__(&clip_threads_set) threads = symbol(library, "clip_threads_set");
    threads(4);
    status = open(&e, model, NULL, 0, &error);
    if (status == CLIP_OK) {
        rows = calloc(5 * (size_t)dim(e), sizeof *rows);
        if (rows == NULL) abort();
        status = embed_texts(e, texts, 5, CLIP_UNIT, rows, NULL, &error);
    }
    if (status != CLIP_OK) fprintf(stderr, "%s\n", error.message);
    free(rows);
    release(e);
    return status == CLIP_OK ? 0 : 1;
}

struct job {
    const char *library, *model;
    int failed;
};

/* All of it in a thread that ends afterwards: what the library keeps for a thread goes then. */
static void *run(void *context)
{
    struct job *job = context;
    void *library = dlopen(job->library, RTLD_NOW | RTLD_LOCAL);
    job->failed = 1;
    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return NULL;
    }
    job->failed = embed(library, job->model);
    if (dlclose(library) != 0) job->failed = 1;
    return NULL;
}

int main(int argc, char **argv)
{
    const struct timespec while_threads_wait = {0, 300 * 1000 * 1000};
    if (argc != 3) return 2;
    for (int i = 0; i < 3; i++) {
        struct job job = {argv[1], argv[2], 1};
        pthread_t thread;
        if (pthread_create(&thread, NULL, run, &job) != 0) return 1;
        pthread_join(thread, NULL);
        nanosleep(&while_threads_wait, NULL);
        if (job.failed) return 1;
    }
    puts("still here");
    return 0;
}
