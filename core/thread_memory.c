#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/threads.h"

/* A thread's memory hangs on a key whose destructor frees it when the thread ends. */
struct memory {
    size_t size;
    _Alignas(64) char bytes[];
};

static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool made;

static void make_key(void) { made = pthread_key_create(&key, free) == 0; }

void *clip_thread_memory(size_t bytes)
{
    enum { STEP = 1 << 16 };
    pthread_once(&once, make_key);
    struct memory *mine = made ? pthread_getspecific(key) : NULL;
    if (!made || bytes > SIZE_MAX / 2) return NULL;
    if (mine != NULL && mine->size >= bytes) return mine->bytes;
    size_t size = (bytes + sizeof *mine + STEP - 1) / STEP * STEP;
    struct memory *more = aligned_alloc(64, size);
    if (more == NULL || pthread_setspecific(key, more) != 0) {
        free(more);
        return NULL;
    }
    free(mine);
    more->size = size - sizeof *more;
    return more->bytes;
}
