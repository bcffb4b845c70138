#include "core/memory.h"
#include "core/count.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { LARGE_PAGE = 2 << 20, LARGE_ARRAY = 16 << 20 };

bool clip_mul_i64(int64_t a, int64_t b, int64_t *out) { return !__builtin_mul_overflow(a, b, out); }

bool clip_mul_size(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }

/* *bytes = count * size, if an object may be so large; else *error is filled. */
static clip_status bytes_of(int64_t count, size_t size, size_t *bytes, struct clip_error *error)
{
    if (count < 0 || !clip_mul_size((size_t)count, size, bytes) || *bytes > PTRDIFF_MAX / 2)
        return clip_fail(
            error, CLIP_ERR_MEMORY,
            "%s of %s: more than memory can hold; check the sizes in the file or the config",
            CLIP_COUNT(count, "element"), CLIP_COUNT(size, "byte"));
    return CLIP_OK;
}

static clip_status out_of_memory(size_t bytes, struct clip_error *error)
{
    return clip_fail(error, CLIP_ERR_MEMORY,
                     "the system has no %s of memory left; free some, or ask for less (a smaller "
                     "batch or micro_batch)",
                     CLIP_COUNT(bytes, "byte"));
}

void clip_memory_large_pages(void *data, size_t bytes)
{
    uintptr_t begin = ((uintptr_t)data + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE;
    uintptr_t end = ((uintptr_t)data + bytes) / LARGE_PAGE * LARGE_PAGE;
    if (end > begin) madvise((char *)data + (begin - (uintptr_t)data), end - begin, MADV_HUGEPAGE);
}

void clip_memory_trim(void) { malloc_trim(0); }

static void *aligned_new(int64_t count, size_t size, size_t alignment, struct clip_error *error)
{
    size_t bytes = 0;
    if (bytes_of(count, size, &bytes, error) != CLIP_OK) return NULL;
    void *array = NULL;
    if (posix_memalign(&array, alignment, bytes > 0 ? bytes : 64) != 0) {
        out_of_memory(bytes, error);
        return NULL;
    }
    if (bytes >= LARGE_ARRAY) clip_memory_large_pages(array, bytes);
    memset(array, 0, bytes > 0 ? bytes : 64);
    return array;
}

void *clip_array_new(int64_t count, size_t size, struct clip_error *error)
{
    return aligned_new(count, size, 64, error);
}

void *clip_pages_new(int64_t count, size_t size, struct clip_error *error)
{
    return aligned_new(count, size, 4096, error);
}

char *clip_string_copy_n(const char *bytes, size_t n, struct clip_error *error)
{
    char *copy = n < PTRDIFF_MAX ? malloc(n + 1) : NULL;
    if (copy == NULL) {
        out_of_memory(n, error);
        return NULL;
    }
    if (n > 0) memcpy(copy, bytes, n);
    copy[n] = '\0';
    return copy;
}

char *clip_string_copy(const char *text, struct clip_error *error)
{
    return clip_string_copy_n(text, strlen(text), error);
}

clip_status clip_array_grow(void *array_pointer, int64_t *capacity, int64_t need, size_t size,
                            struct clip_error *error)
{
    if (need <= *capacity) return CLIP_OK;
    int64_t wanted = *capacity < 8 ? 8 : *capacity;
    while (wanted < need && wanted <= INT64_MAX / 2) wanted *= 2;
    if (wanted < need) wanted = need;
    size_t bytes;
    clip_status status = bytes_of(wanted, size, &bytes, error);
    if (status != CLIP_OK) return status;

    /* the type of the pointer is the caller's, so it is read and written byte by byte */
    void *array;
    memcpy(&array, array_pointer, sizeof array);
    char *grown = realloc(array, bytes > 0 ? bytes : 1);
    if (grown == NULL) return out_of_memory(bytes, error);
    size_t old = (size_t)*capacity * size;
    memset(grown + old, 0, bytes - old);
    memcpy(array_pointer, &grown, sizeof grown);
    *capacity = wanted;
    return CLIP_OK;
}

clip_status clip_buffer_reserve(struct clip_buffer *buffer, size_t n, struct clip_error *error)
{
    if (n > (size_t)PTRDIFF_MAX / 2 - buffer->size - 1) return out_of_memory(n, error);
    size_t need = buffer->size + n + 1;
    if (need <= buffer->capacity) return CLIP_OK;
    size_t capacity = buffer->capacity < 64 ? 64 : buffer->capacity;
    while (capacity < need) capacity *= 2;
    char *data = realloc(buffer->data, capacity);
    if (data == NULL) return out_of_memory(capacity, error);
    data[buffer->size] = '\0';
    buffer->data = data;
    buffer->capacity = capacity;
    return CLIP_OK;
}

clip_status clip_buffer_append(struct clip_buffer *buffer, const void *bytes, size_t n,
                               struct clip_error *error)
{
    clip_status status = clip_buffer_reserve(buffer, n, error);
    if (status != CLIP_OK) return status;
    if (n > 0) memcpy(buffer->data + buffer->size, bytes, n);
    buffer->size += n;
    buffer->data[buffer->size] = '\0';
    return CLIP_OK;
}

clip_status clip_buffer_printf(struct clip_buffer *buffer, struct clip_error *error,
                               const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int n = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    clip_status status;
    if (n < 0)
        status = clip_fail(error, CLIP_ERR_MEMORY, "a text like \"%s\" is too long", format);
    else
        status = clip_buffer_reserve(buffer, (size_t)n, error);
    if (status == CLIP_OK) {
        vsnprintf(buffer->data + buffer->size, (size_t)n + 1, format, again);
        buffer->size += (size_t)n;
    }
    va_end(again);
    return status;
}

void clip_buffer_release(struct clip_buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct clip_buffer){0};
}

enum { ARENA_BLOCK = 64 * 1024, ARENA_ALIGN = 16 };

struct clip_arena_block {
    struct clip_arena_block *next;
    size_t used, capacity; /* in bytes */
    _Alignas(ARENA_ALIGN) unsigned char data[];
};

/* Takes `bytes` zeroed bytes at a multiple of `alignment`. */
static void *take(struct clip_arena *arena, size_t bytes, size_t alignment,
                  struct clip_error *error)
{
    struct clip_arena_block *block = arena->first;
    size_t gap = block != NULL ? -block->used % alignment : 0;
    if (block == NULL || block->capacity - block->used < gap + bytes) {
        size_t capacity = bytes > ARENA_BLOCK ? bytes : ARENA_BLOCK;
        block = calloc(1, sizeof *block + capacity);
        if (block == NULL) {
            out_of_memory(capacity, error);
            return NULL;
        }
        block->capacity = capacity;
        gap = 0;
        /* the half-filled block stays first */
        if (arena->first != NULL && capacity > ARENA_BLOCK) {
            block->next = arena->first->next;
            arena->first->next = block;
        } else {
            block->next = arena->first;
            arena->first = block;
        }
    }
    void *piece = block->data + block->used + gap;
    block->used += gap + bytes;
    return piece;
}

void *clip_arena_alloc(struct clip_arena *arena, int64_t count, size_t size,
                       struct clip_error *error)
{
    size_t bytes = 0;
    if (bytes_of(count, size, &bytes, error) != CLIP_OK) return NULL;
    return take(arena, bytes > 0 ? bytes : 1, ARENA_ALIGN, error);
}

char *clip_arena_string(struct clip_arena *arena, const char *bytes, size_t n,
                        struct clip_error *error)
{
    if (n >= PTRDIFF_MAX / 2) {
        out_of_memory(n, error);
        return NULL;
    }
    char *copy = take(arena, n + 1, 1, error);
    if (copy != NULL && n > 0) memcpy(copy, bytes, n);
    return copy;
}

void clip_arena_join(struct clip_arena *arena, struct clip_arena *from)
{
    struct clip_arena_block **end = &arena->first;
    while (*end != NULL) end = &(*end)->next;
    *end = from->first;
    from->first = NULL;
}

void clip_arena_release(struct clip_arena *arena)
{
    struct clip_arena_block *block = arena->first;
    while (block != NULL) {
        struct clip_arena_block *next = block->next;
        free(block);
        block = next;
    }
    arena->first = NULL;
}

int64_t clip_memory_peak_rss(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (int64_t)usage.ru_maxrss * 1024 : 0;
}

int64_t clip_memory_rss(void)
{
    long long pages = -1;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file != NULL && fscanf(file, "%*d %lld", &pages) != 1) pages = -1;
    if (file != NULL) fclose(file);
    return pages >= 0 ? pages * sysconf(_SC_PAGESIZE) : clip_memory_peak_rss();
}
