/* One process alone: there is nobody to exchange anything with. */
#include "core/comm.h"

#include <string.h>

struct clip_comm {
    int alone;
};

clip_status clip_comm_open(struct clip_comm **out, struct clip_error *error)
{
    (void)error;
    *out = NULL;
    return CLIP_OK;
}

void clip_comm_close(struct clip_comm *comm) { (void)comm; }

int clip_comm_rank(const struct clip_comm *comm)
{
    (void)comm;
    return 0;
}

int clip_comm_size(const struct clip_comm *comm)
{
    (void)comm;
    return 1;
}

const char *clip_comm_library(void) { return NULL; }

clip_status clip_comm_agree(struct clip_comm *comm, clip_status status, struct clip_error *error)
{
    (void)comm;
    (void)error;
    return status;
}

double clip_comm_seconds(const struct clip_comm *comm)
{
    (void)comm;
    return 0;
}

bool clip_comm_failed(const struct clip_comm *comm)
{
    (void)comm;
    return false;
}

int64_t clip_comm_most(const struct clip_comm *comm, int64_t number)
{
    (void)comm;
    return number;
}

int64_t clip_comm_least(const struct clip_comm *comm, int64_t number)
{
    (void)comm;
    return number;
}

int64_t clip_comm_sum(const struct clip_comm *comm, int64_t number)
{
    (void)comm;
    return number;
}

void clip_comm_all_gather(const struct clip_comm *comm, void *data, const int64_t *bounds)
{
    (void)comm;
    (void)data;
    (void)bounds;
}

void clip_comm_gather(const struct clip_comm *comm, void *data, const void *own,
                      const int64_t *bounds)
{
    (void)comm;
    if (data != own && bounds[1] > bounds[0])
        memcpy((char *)data + bounds[0], own, (size_t)(bounds[1] - bounds[0]));
}

void clip_comm_broadcast(const struct clip_comm *comm, void *data, size_t bytes)
{
    (void)comm;
    (void)data;
    (void)bytes;
}

void clip_comm_exchange(const struct clip_comm *comm, const struct clip_comm_part *send,
                        const struct clip_comm_part *receive)
{
    (void)comm;
    (void)send;
    (void)receive;
}
