/* The tape: builds ops as they run, walks them back for gradients (reverse-mode automatic
 * differentiation).
 *
 * Building an op runs its forward at once and records a node. clip_tape_backward walks the nodes in
 * reverse; each op's backward *adds* to the gradients of its inputs, skipping those that need none.
 * A node's output and its gradient are given back to the workspace as soon as its own backward has
 * run. What is cheap (normalised rows, activations) is given back when its scope ends and computed
 * again when backward comes to its reader.
 *
 * Nobody allocates in a step but the workspace, which hands out pieces of memory mapped once. A
 * tape has three uses:
 *
 *   training   clip_tape_clear, ops, clip_tape_backward
 *   inference  tape.record = false: nothing is kept for backward, and clip_scope_leave frees a
 *              block's values at once
 *   planning   tape.plan = true: shapes and memory only, nothing is computed or touched;
 *              clip_tape_peak tells the bytes
 *
 * Running out of memory is sticky: ops then do nothing, and clip_tape_status says so once at the
 * end of the step. */
#ifndef CLIP_AUTOGRAD_TAPE_H
#define CLIP_AUTOGRAD_TAPE_H

#include "autograd/tensor.h"
#include "core/status.h"

#define CLIP_MAX_INPUTS 8
#define CLIP_READS_INPUT(i) (1u << (i))
#define CLIP_READS_OUTPUT (1u << CLIP_MAX_INPUTS)

struct clip_node {
    const struct clip_op *op;
    struct clip_tape *tape;
    struct clip_tensor *in[CLIP_MAX_INPUTS]; /* NULL where an optional input is absent */
    struct clip_tensor *out;
    void *args;    /* the op's own struct, copied when recorded */
    void *saved;   /* op->saved bytes, written by forward, read by backward */
    void *scratch; /* op->scratch bytes, alive only during one forward or backward call */
    struct clip_node *previous;
};

struct clip_op {
    const char *name;
    void (*forward)(struct clip_node *node);  /* writes node->out->data */
    void (*backward)(struct clip_node *node); /* adds to in[i]->grad where in[i] and
                                                 in[i]->needs_grad; reads out->grad */
    bool overwrites; /* backward asks clip_grad_adds of each gradient before it writes to it;
                        else those that are empty are zeroed before */
    int passes;      /* 1 + the number of an input whose gradient is out's as it is (a residual):
                        where it has none yet, in[i]->grad stays NULL and it gets out's memory */
    unsigned reads;  /* what backward reads: CLIP_READS_INPUT(i) | CLIP_READS_OUTPUT */
    /* For an op that costs little beside a multiplication: writes out->data again, the same bits,
     * from the inputs in `reads` and from saved. Its value is then never kept for the backward of
     * others, but computed again when the first of them reads it. NULL: the value is kept. */
    void (*again)(struct clip_node *node);
    size_t (*saved)(const struct clip_node *node);                  /* bytes; NULL: none */
    size_t (*scratch)(const struct clip_node *node, bool backward); /* bytes; NULL: none */
};

/* What a tape's products multiply: its dtype, as a person chooses it. */
enum clip_precision { CLIP_PRECISION_FP32, CLIP_PRECISION_BF16 };
const char *clip_precision_name(int precision); /* "fp32", "bf16"; core/choice.h */
enum clip_dtype clip_precision_dtype(enum clip_precision precision);

/* Where a tape's time went, op by op; for measuring alone. */
struct clip_profile {
    struct clip_profile_row {
        const char *name;
        int64_t calls;
        double forward, backward; /* seconds */
    } rows[32];
    int count;
};

struct clip_tape {
    bool record; /* keep what backward needs (default true) */
    bool plan;   /* see above */
    /* CLIP_F32 (default), or CLIP_BF16: products round what they multiply to bfloat16 and sum in
     * float32, and what stands between the products of a block is stored as bfloat16. Parameters,
     * the residual stream, features, statistics and all gradients are float32 either way. */
    enum clip_dtype dtype;
    struct clip_workspace *workspace;
    struct clip_node *last;
    struct clip_scope *scope;
    struct clip_profile *profile; /* NULL: not measured */
    clip_status status;
};

clip_status clip_tape_create(struct clip_tape **out, struct clip_error *error);
void clip_tape_free(struct clip_tape *tape);
/* Makes `bytes` of workspace ready, so that no step needs to ask for more. The pages are taken when
 * first touched. */
clip_status clip_tape_reserve(struct clip_tape *tape, size_t bytes, struct clip_error *error);
/* Forgets every node and gives all workspace memory back to the tape. Tensors the tape made are
 * gone. */
void clip_tape_clear(struct clip_tape *tape);
/* The most bytes of workspace in use at once so far, and how often it asked the system for more. */
size_t clip_tape_peak(const struct clip_tape *tape);
int64_t clip_tape_grown(const struct clip_tape *tape);
clip_status clip_tape_status(const struct clip_tape *tape, struct clip_error *error);

struct clip_op_call {      /* what an op is called with, and what it is to make */
    enum clip_dtype dtype; /* of out; CLIP_F32 where it is left out */
    int ndim;              /* and the shape of out; 0: a scalar */
    const int64_t *shape;
    struct clip_tensor *inputs[CLIP_MAX_INPUTS]; /* NULL: not there */
    const void *args;                            /* copied for forward and backward, or NULL */
    size_t args_size;
};
/* For ops: makes out, runs the op's forward, records it. */
struct clip_tensor *clip_tape_record(struct clip_tape *tape, const struct clip_op *op,
                                     const struct clip_op_call *call);
/* For an op's backward: is this gradient added to, or (false, once) overwritten? The caller then
 * writes all of it. */
bool clip_grad_adds(struct clip_tensor *tensor);
/* A tensor in the workspace that no op made: an input to fill. Lives until clip_tape_clear or the
 * end of its scope. */
struct clip_tensor *clip_tape_input(struct clip_tape *tape, enum clip_dtype dtype, int ndim,
                                    const int64_t *shape);

/* A scope gives memory back early. Between enter and leave only `keep` may be used afterwards:
 * leave releases every other value made inside that no recorded backward reads or that can be
 * computed again (all of them when tape.record is false). Scopes nest. */
struct clip_scope {
    struct clip_node *start;
    struct clip_scope *outer;
};
void clip_scope_enter(struct clip_tape *tape, struct clip_scope *scope);
struct clip_tensor *clip_scope_leave(struct clip_tape *tape, struct clip_scope *scope,
                                     struct clip_tensor *keep);

/* `x` will not be used again: gives its memory back now, unless a recorded backward reads it and
 * it cannot be computed again. */
void clip_tape_release(struct clip_tape *tape, struct clip_tensor *x);

/* Builds y = build(t, x, args) without keeping what its backward will read: backward builds it a
 * second time, to the same bits, walks it back, and gives all of it back (Chen et al. 2016,
 * sublinear memory). x is the one value of the tape that build may read whose gradient is wanted;
 * parameters and inputs come through args, which are copied. build's value is the last it makes. */
typedef struct clip_tensor *(*clip_segment_fn)(struct clip_tape *tape, struct clip_tensor *x,
                                               const void *args);
struct clip_tensor *clip_tape_segment(struct clip_tape *tape, clip_segment_fn build,
                                      struct clip_tensor *x, const void *args, size_t args_size);

/* d loss / d everything, loss a scalar: added to the `grad` of the leaves that need one. */
void clip_tape_backward(struct clip_tape *tape, struct clip_tensor *loss);
/* The same from any tensor and its upstream gradient dy (same shape). */
void clip_tape_backward_from(struct clip_tape *tape, struct clip_tensor *y, const float *dy);

#endif
