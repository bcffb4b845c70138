/* Who is connected to the page, and whose connection is given up so that others are served.
 *
 * A request is awaited from the moment its connection opens, or its last answer is sent, until its
 * last byte has arrived. Whoever lets others wait is cut off by these rules, in this order:
 *   1. headers that are awaited for longer than CLIP_HTTP_SECONDS, a body for longer than
 *      CLIP_HTTP_BODY_SECONDS, an answer that is not taken within CLIP_HTTP_ANSWER_SECONDS,
 *      however many bytes trickle;
 *   2. of one address' connections beyond CLIP_HTTP_PER_ADDRESS, and of all beyond
 *      CLIP_HTTP_CONNECTIONS, the one that is awaited longest. Where all are being answered, the
 *      newest is cut.
 * So the newest is served: one that sends its request at once is done before it is the oldest.
 *
 * To cut is shutdown(2): the server sees the end of the connection, and closes it. A socket is in
 * the list for as long as it is the server's, so that no other file is ever shut. */
#ifndef CLIP_SERVE_VISITORS_H
#define CLIP_SERVE_VISITORS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "core/status.h"

enum clip_visitor_state { CLIP_VISITOR_HEADERS, CLIP_VISITOR_BODY, CLIP_VISITOR_ANSWER };

struct clip_visitor; /* a connection */
struct clip_visitors;

/* May be called from several threads. */
clip_status clip_visitors_create(struct clip_visitors **out, struct clip_error *error);
void clip_visitors_free(struct clip_visitors *all); /* NULL is fine */

/* A connection was opened at `now` (seconds of clip_seconds): makes room for it by the rules above.
 * NULL: there is no memory for it, and it was cut. */
struct clip_visitor *clip_visitors_enter(struct clip_visitors *all, int fd,
                                         const struct sockaddr *address, double now);
/* What the connection waits for from `now` on. A state that it is in already changes nothing. */
void clip_visitors_turn(struct clip_visitors *all, struct clip_visitor *v,
                        enum clip_visitor_state state, double now);
/* Its socket is about to be closed; v is freed. NULL is fine. */
void clip_visitors_leave(struct clip_visitors *all, struct clip_visitor *v);
/* Cuts those whose time is over. */
void clip_visitors_sweep(struct clip_visitors *all, double now);

#endif
