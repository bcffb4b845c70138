/* The tape's memory: pieces of large regions mapped once, handed out first-fit and joined again
 * when given back.
 *
 * The same sequence of requests gives the same pieces, so a training step that repeats asks the
 * system for nothing new. Pages are mapped without being reserved (MAP_NORESERVE): memory that is
 * never touched costs nothing. In a planned workspace no memory is mapped at all and the pieces are
 * mere numbers; only the peak counts. */
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
/* Planned from now on, or not; only while nothing is in use. */
void clip_workspace_plan(struct clip_workspace *workspace, bool plan);

struct clip_piece; /* a piece in use */
/* 64-byte aligned; NULL when memory is out. */
struct clip_piece *clip_workspace_take(struct clip_workspace *workspace, size_t bytes);
void *clip_piece_data(const struct clip_piece *piece); /* NULL in a planned workspace */
void clip_workspace_give_back(struct clip_workspace *workspace, struct clip_piece *piece);
void clip_workspace_clear(struct clip_workspace *workspace); /* gives everything back */

/* The most bytes between the start and the highest piece. */
size_t clip_workspace_peak(const struct clip_workspace *workspace);
/* Regions mapped and piece tables allocated. */
int64_t clip_workspace_grown(const struct clip_workspace *workspace);

#endif
