#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/threads.h"

/* A thread's pieces of memory are stored under a key whose destructor frees them when the thread
 * ends. */
struct piece {
    size_t size;
    char *bytes;
};

struct pieces {
    struct piece piece[CLIP_MEMORY_PIECES];
};

static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool made;

static void free_pieces(void *value)
{
    struct pieces *pieces = value;
    for (int i = 0; i < CLIP_MEMORY_PIECES; i++) free(pieces->piece[i].bytes);
    free(pieces);
}

static void make_key(void) { made = pthread_key_create(&key, free_pieces) == 0; }

static struct pieces *pieces_of_thread(void)
{
    pthread_once(&once, make_key);
    struct pieces *mine = made ? pthread_getspecific(key) : NULL;
    if (!made || mine != NULL) return mine;
    mine = calloc(1, sizeof *mine);
    if (mine != NULL && pthread_setspecific(key, mine) == 0) return mine;
    free(mine);
    return NULL;
}

void *clip_thread_memory(enum clip_thread_piece piece, size_t bytes)
{
    enum { STEP = 1 << 16 };
    struct pieces *pieces = pieces_of_thread();
    if (pieces == NULL || bytes > SIZE_MAX / 2) return NULL;
    struct piece *mine = &pieces->piece[piece];
    if (mine->bytes != NULL && mine->size >= bytes) return mine->bytes;
    size_t size = (bytes + STEP) / STEP * STEP;
    char *more = aligned_alloc(64, size);
    if (more == NULL) return NULL;
    clip_memory_large_pages(more, size);
    free(mine->bytes);
    *mine = (struct piece){size, more};
    return more;
}
