/* Processes that were started together, by mpirun or a cluster's scheduler, and work on one thing.
 *
 * comm_self.c is one process alone; comm_mpi.c, built by `make MPI=1`, speaks Open MPI (the MPI
 * standard, 4.0), and no other file does. Only the main thread may call these functions.
 *
 * All of them but rank and size are collective: every process calls them in the same order. A
 * process that cannot go on calls clip_comm_agree with what went wrong, where the others come to
 * their next clip_comm_agree; so between something that may fail and the next exchange of data
 * there is always an agreement. After one that failed nobody waits for anybody any more: further
 * calls of clip_comm_agree return the same failure at once.
 *
 * Floats are only carried, never summed: whoever receives them sums in an order of its own. A
 * network or a process that breaks down ends all processes. */
#ifndef CLIP_CORE_COMM_H
#define CLIP_CORE_COMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

struct clip_comm;

/* Joins the processes that were started with this one, once in a program. clip_comm_close waits for
 * all of them; NULL is fine. */
clip_status clip_comm_open(struct clip_comm **out, struct clip_error *error);
void clip_comm_close(struct clip_comm *comm);
/* NULL stands for one process alone in all that follow. */
int clip_comm_rank(const struct clip_comm *comm);
int clip_comm_size(const struct clip_comm *comm);
/* "Open MPI 4.1.4", or NULL in a build without it. */
const char *clip_comm_library(void);

/* One process' failure is everybody's: if `status` is CLIP_OK everywhere, CLIP_OK; else the failure
 * of the lowest rank that has one, with its sentence in *error. */
clip_status clip_comm_agree(struct clip_comm *comm, clip_status status, struct clip_error *error);
/* Seconds that this process has spent in exchanges so far, in waiting for others above all. */
double clip_comm_seconds(const struct clip_comm *comm);
/* Has any agreement failed? */
bool clip_comm_failed(const struct clip_comm *comm);
/* The largest of all processes' numbers, the smallest, or their sum. */
int64_t clip_comm_most(const struct clip_comm *comm, int64_t number);
int64_t clip_comm_least(const struct clip_comm *comm, int64_t number);
int64_t clip_comm_sum(const struct clip_comm *comm, int64_t number); /* exact: of integers */

/* Process r has bytes [bounds[r], bounds[r+1]) of `data`; afterwards everybody has all. bounds is
 * [size + 1], the same everywhere. */
void clip_comm_all_gather(const struct clip_comm *comm, void *data, const int64_t *bounds);
/* The same, but only process 0 gets all: `own` is the calling process' part, `data` is read and
 * written by process 0 alone. */
void clip_comm_gather(const struct clip_comm *comm, void *data, const void *own,
                      const int64_t *bounds);
/* Everybody gets what process 0 has. */
void clip_comm_broadcast(const struct clip_comm *comm, void *data, size_t bytes);

struct clip_comm_part {
    void *data;
    size_t bytes;
};
/* Sends send[r] to process r and receives receive[r] from it, for all other r, at once. */
void clip_comm_exchange(const struct clip_comm *comm, const struct clip_comm_part *send,
                        const struct clip_comm_part *receive);

#endif
