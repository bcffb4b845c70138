#include "serve/visitors.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "serve/http.h"

struct clip_visitor {
    struct clip_visitor *next, *before;
    unsigned char address[16]; /* an IPv4 one in its first 4 bytes */
    double since;              /* it is in this state */
    int fd;
    enum clip_visitor_state state;
    bool cut;
};

struct clip_visitors {
    pthread_mutex_t lock;
    struct clip_visitor *first; /* the newest */
};

clip_status clip_visitors_create(struct clip_visitors **out, struct clip_error *error)
{
    struct clip_visitors *all = clip_array_new(1, sizeof *all, error);
    if (all == NULL) return CLIP_ERR_MEMORY;
    pthread_mutex_init(&all->lock, NULL);
    *out = all;
    return CLIP_OK;
}

void clip_visitors_free(struct clip_visitors *all)
{
    if (all == NULL) return;
    while (all->first != NULL) clip_visitors_leave(all, all->first);
    pthread_mutex_destroy(&all->lock);
    free(all);
}

static void cut(struct clip_visitor *v)
{
    v->cut = true;
    shutdown(v->fd, SHUT_RDWR);
}

static void cut_overdue(struct clip_visitors *all, double now)
{
    static const double patience[] = {CLIP_HTTP_SECONDS, CLIP_HTTP_BODY_SECONDS,
                                      CLIP_HTTP_ANSWER_SECONDS};
    for (struct clip_visitor *v = all->first; v != NULL; v = v->next)
        if (!v->cut && now - v->since > patience[v->state]) cut(v);
}

/* Cuts one connection where there are more than `most`: of this address, or of all (NULL). */
static void make_room(struct clip_visitors *all, const unsigned char *address, int most)
{
    struct clip_visitor *oldest = NULL, *newest = NULL;
    int count = 0;
    for (struct clip_visitor *v = all->first; v != NULL; v = v->next) {
        if (v->cut || (address != NULL && memcmp(v->address, address, sizeof v->address) != 0))
            continue;
        count++;
        if (newest == NULL) newest = v;
        if (v->state != CLIP_VISITOR_ANSWER && v != newest &&
            (oldest == NULL || v->since <= oldest->since))
            oldest = v;
    }
    if (count > most) cut(oldest != NULL ? oldest : newest);
}

struct clip_visitor *clip_visitors_enter(struct clip_visitors *all, int fd,
                                         const struct sockaddr *address, double now)
{
    struct clip_visitor *v = calloc(1, sizeof *v);
    if (v == NULL) {
        shutdown(fd, SHUT_RDWR);
        return NULL;
    }
    v->fd = fd;
    v->since = now;
    if (address != NULL && address->sa_family == AF_INET6)
        memcpy(v->address, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, 16);
    else if (address != NULL && address->sa_family == AF_INET)
        memcpy(v->address, &((const struct sockaddr_in *)(const void *)address)->sin_addr, 4);
    pthread_mutex_lock(&all->lock);
    v->next = all->first;
    if (v->next != NULL) v->next->before = v;
    all->first = v;
    cut_overdue(all, now);
    make_room(all, v->address, CLIP_HTTP_PER_ADDRESS);
    make_room(all, NULL, CLIP_HTTP_CONNECTIONS);
    pthread_mutex_unlock(&all->lock);
    return v;
}

void clip_visitors_turn(struct clip_visitors *all, struct clip_visitor *v,
                        enum clip_visitor_state state, double now)
{
    if (v == NULL) return;
    pthread_mutex_lock(&all->lock);
    if (v->state != state) v->since = now;
    v->state = state;
    pthread_mutex_unlock(&all->lock);
}

void clip_visitors_leave(struct clip_visitors *all, struct clip_visitor *v)
{
    if (v == NULL) return;
    pthread_mutex_lock(&all->lock);
    if (v->next != NULL) v->next->before = v->before;
    if (v->before != NULL) v->before->next = v->next;
    if (all->first == v) all->first = v->next;
    pthread_mutex_unlock(&all->lock);
    free(v);
}

void clip_visitors_sweep(struct clip_visitors *all, double now)
{
    pthread_mutex_lock(&all->lock);
    cut_overdue(all, now);
    pthread_mutex_unlock(&all->lock);
}
