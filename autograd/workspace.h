/* The tape's memory: pieces of large regions that are mapped once. A request gets the first free
 * piece that is large enough, and free neighbours are joined when a piece is given back.
 *
 * The same sequence of requests gets the same pieces, so a training step that repeats asks the
 * system for nothing new. Pages are mapped without being reserved (MAP_NORESERVE), so memory that
 * is never touched costs nothing. A planned workspace maps no memory at all: its pieces are only
 * numbers, and what it is for is the peak. */
#ifndef CLIP_AUTOGRAD_WORKSPACE_H
#define CLIP_AUTOGRAD_WORKSPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct clip_workspace;

struct clip_workspace *clip_workspace_create(void); /* NULL: no memory */
void clip_workspace_free(struct clip_workspace *workspace);
/* Maps a region of at least `bytes`; false: the system has no such address space. */
bool clip_workspace_reserve(struct clip_workspace *workspace, size_t bytes);
/* Makes the workspace planned or not. Only while no piece is in use. */
void clip_workspace_plan(struct clip_workspace *workspace, bool plan);

struct clip_piece; /* a piece in use */
/* A piece of at least `bytes`, 64-byte aligned; NULL when memory is out. */
struct clip_piece *clip_workspace_take(struct clip_workspace *workspace, size_t bytes);
void *clip_piece_data(const struct clip_piece *piece); /* NULL in a planned workspace */
void clip_workspace_give_back(struct clip_workspace *workspace, struct clip_piece *piece);
void clip_workspace_clear(struct clip_workspace *workspace); /* gives everything back */

/* The most bytes in use so far, holes between pieces included. */
size_t clip_workspace_peak(const struct clip_workspace *workspace);
/* How often memory was asked from the system: regions mapped and tables of pieces allocated. */
int64_t clip_workspace_grown(const struct clip_workspace *workspace);

#endif
