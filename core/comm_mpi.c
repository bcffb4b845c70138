/* Many processes by MPI, whose own error handler ends them all where the network fails. */
#include <limits.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/comm.h"
#include "core/memory.h"

/* MPI counts in int: larger messages go in parts of so many bytes. */
enum { PART = 1 << 30, TAG = 1 };

struct clip_comm {
    int rank, size;
    double seconds; /* spent in exchanges */
    bool failed;    /* an agreement did */
    struct clip_error failure;
    int64_t request_capacity; /* most requests at once */
    MPI_Request *requests;
};

clip_status clip_comm_open(struct clip_comm **out, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int provided = 0;
    struct clip_comm *comm = NULL;
    *out = NULL;
    CLIP_NEW(comm, 1);
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS ||
        provided < MPI_THREAD_FUNNELED)
        CLIP_TRY(clip_fail(error, CLIP_ERR_MACHINE,
                           "MPI cannot be used by a program with threads (level %d)", provided));
    MPI_Comm_rank(MPI_COMM_WORLD, &comm->rank);
    MPI_Comm_size(MPI_COMM_WORLD, &comm->size);
    *out = comm;
    comm = NULL;
out:
    free(comm);
    return status;
}

void clip_comm_close(struct clip_comm *comm)
{
    if (comm == NULL) return;
    MPI_Finalize();
    free(comm->requests);
    free(comm);
}

int clip_comm_rank(const struct clip_comm *comm) { return comm != NULL ? comm->rank : 0; }
int clip_comm_size(const struct clip_comm *comm) { return comm != NULL ? comm->size : 1; }

const char *clip_comm_library(void)
{
#ifdef OMPI_MAJOR_VERSION
#define TEXT_OF(x) #x
#define VERSION_OF(a, b, c) "Open MPI " TEXT_OF(a) "." TEXT_OF(b) "." TEXT_OF(c)
    return VERSION_OF(OMPI_MAJOR_VERSION, OMPI_MINOR_VERSION, OMPI_RELEASE_VERSION);
#else
    return "MPI";
#endif
}

double clip_comm_seconds(const struct clip_comm *comm) { return comm != NULL ? comm->seconds : 0; }

/* What changes while a caller only reads. */
static struct clip_comm *inside(const struct clip_comm *comm)
{
    return (struct clip_comm *)(uintptr_t)comm;
}

static void took(const struct clip_comm *comm, double since)
{
    inside(comm)->seconds += MPI_Wtime() - since;
}

bool clip_comm_failed(const struct clip_comm *comm) { return comm != NULL && comm->failed; }

int64_t clip_comm_least(const struct clip_comm *comm, int64_t number)
{
    int64_t least = number;
    if (comm == NULL) return number;
    double since = MPI_Wtime();
    MPI_Allreduce(&number, &least, 1, MPI_INT64_T, MPI_MIN, MPI_COMM_WORLD);
    took(comm, since);
    return least;
}

int64_t clip_comm_sum(const struct clip_comm *comm, int64_t number)
{
    int64_t sum = number;
    if (comm != NULL) MPI_Allreduce(&number, &sum, 1, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
    return sum;
}

int64_t clip_comm_most(const struct clip_comm *comm, int64_t number)
{
    return -clip_comm_least(comm, -number);
}

clip_status clip_comm_agree(struct clip_comm *comm, clip_status status, struct clip_error *error)
{
    if (comm == NULL) return status;
    if (!comm->failed) {
        int64_t first = clip_comm_least(comm, status != CLIP_OK ? comm->rank : INT_MAX);
        if (first == INT_MAX) return CLIP_OK;
        if (first == comm->rank) {
            comm->failure = *error;
            comm->failure.status = status;
        }
        MPI_Bcast(&comm->failure, (int)sizeof comm->failure, MPI_BYTE, (int)first, MPI_COMM_WORLD);
        comm->failed = true;
        if (comm->size > 1 && comm->failure.status != CLIP_ERR_INTERRUPTED)
            clip_error_prefix(&comm->failure, "process %d of %d", (int)first, comm->size);
    }
    *error = comm->failure;
    return error->status;
}

void clip_comm_broadcast(const struct clip_comm *comm, void *data, size_t bytes)
{
    for (size_t at = 0; comm != NULL && at < bytes; at += PART)
        MPI_Bcast((char *)data + at, (int)(bytes - at < PART ? bytes - at : PART), MPI_BYTE, 0,
                  MPI_COMM_WORLD);
}

/* Starts what is to be sent to, or received from, one process. */
static void start(bool sends, const struct clip_comm_part *part, int peer, MPI_Request *requests,
                  int *count)
{
    for (size_t at = 0; at < part->bytes; at += PART) {
        char *data = (char *)part->data + at;
        int n = (int)(part->bytes - at < PART ? part->bytes - at : PART);
        MPI_Request *request = &requests[(*count)++];
        if (sends)
            MPI_Isend(data, n, MPI_BYTE, peer, TAG, MPI_COMM_WORLD, request);
        else
            MPI_Irecv(data, n, MPI_BYTE, peer, TAG, MPI_COMM_WORLD, request);
    }
}

/* Memory for so many requests; without it the processes cannot go on together. */
static MPI_Request *requests_for(const struct clip_comm *comm, int64_t count)
{
    struct clip_comm *c = inside(comm);
    if (count > c->request_capacity) {
        MPI_Request *more = realloc(c->requests, (size_t)count * sizeof *more);
        if (more == NULL) {
            fprintf(stderr, "process %d: no memory for %lld messages\n", c->rank, (long long)count);
            MPI_Abort(MPI_COMM_WORLD, 1);
            abort();
        }
        c->requests = more;
        c->request_capacity = count;
    }
    return c->requests;
}

static int64_t parts_of(const struct clip_comm_part *part)
{
    return (int64_t)((part->bytes + PART - 1) / PART);
}

void clip_comm_exchange(const struct clip_comm *comm, const struct clip_comm_part *send,
                        const struct clip_comm_part *receive)
{
    int count = 0;
    int64_t most = 0;
    if (comm == NULL || comm->size == 1) return;
    double since = MPI_Wtime();
    for (int r = 0; r < comm->size; r++) most += parts_of(&send[r]) + parts_of(&receive[r]);
    MPI_Request *requests = requests_for(comm, most);
    /* each begins with its neighbour, so that not all send to one at once */
    for (int k = 1; k < comm->size; k++) {
        int to = (comm->rank + k) % comm->size, from = (comm->rank + comm->size - k) % comm->size;
        start(false, &receive[from], from, requests, &count);
        start(true, &send[to], to, requests, &count);
    }
    MPI_Waitall(count, requests, MPI_STATUSES_IGNORE);
    took(comm, since);
}

void clip_comm_all_gather(const struct clip_comm *comm, void *data, const int64_t *bounds)
{
    if (comm == NULL || comm->size == 1) return;
    double since = MPI_Wtime();
    /* a ring: each passes on what it got last, so that everybody sends and receives all once */
    for (int k = 0; k < comm->size - 1; k++) {
        int out = (comm->rank + comm->size - k) % comm->size;
        int in = (out + comm->size - 1) % comm->size;
        int next = (comm->rank + 1) % comm->size;
        int before = (comm->rank + comm->size - 1) % comm->size;
        struct clip_comm_part send = {(char *)data + bounds[out],
                                      (size_t)(bounds[out + 1] - bounds[out])},
                              receive = {(char *)data + bounds[in],
                                         (size_t)(bounds[in + 1] - bounds[in])};
        MPI_Request *requests = requests_for(comm, parts_of(&send) + parts_of(&receive));
        int count = 0;
        start(false, &receive, before, requests, &count);
        start(true, &send, next, requests, &count);
        MPI_Waitall(count, requests, MPI_STATUSES_IGNORE);
    }
    took(comm, since);
}

void clip_comm_gather(const struct clip_comm *comm, void *data, const void *own,
                      const int64_t *bounds)
{
    int rank = clip_comm_rank(comm), size = clip_comm_size(comm), count = 0;
    if (rank != 0) {
        struct clip_comm_part part = {(void *)(uintptr_t)own,
                                      (size_t)(bounds[rank + 1] - bounds[rank])};
        start(true, &part, 0, requests_for(comm, parts_of(&part)), &count);
        MPI_Waitall(count, comm->requests, MPI_STATUSES_IGNORE);
        return;
    }
    if (data != own && bounds[1] > bounds[0])
        memcpy((char *)data + bounds[0], own, (size_t)(bounds[1] - bounds[0]));
    for (int r = 1; r < size; r++) {
        struct clip_comm_part part = {(char *)data + bounds[r],
                                      (size_t)(bounds[r + 1] - bounds[r])};
        MPI_Request *requests = requests_for(comm, parts_of(&part));
        count = 0;
        start(false, &part, r, requests, &count);
        MPI_Waitall(count, requests, MPI_STATUSES_IGNORE);
    }
}
