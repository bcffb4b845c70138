#include "autograd/tape.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/ops/parallel.h"
#include "autograd/workspace.h"
#include "core/choice.h"
#include "core/progress.h"

const char *clip_precision_name(int precision)
{
    static const char *const names[] = {
        [CLIP_PRECISION_FP32] = "fp32",
        [CLIP_PRECISION_BF16] = "bf16",
    };
    return CLIP_NAME_OF(names, precision);
}

enum clip_dtype clip_precision_dtype(enum clip_precision precision)
{
    return precision == CLIP_PRECISION_BF16 ? CLIP_BF16 : CLIP_F32;
}

/* A node, with what only the tape sees of it. Records lie in blocks that clip_tape_clear
 * rewinds. */
struct record {
    struct clip_node node;
    struct clip_tensor out;
    struct clip_piece *value, *grad, *saved;
    bool read; /* a recorded backward reads out->data, which cannot be computed again */
};

enum { BLOCK_BYTES = 256 << 10 };

struct block {
    struct block *next;
    size_t used;
    _Alignas(16) char bytes[BLOCK_BYTES];
};

struct tape { /* struct clip_tape is its first member */
    struct clip_tape public;
    struct block *first, *current;
    struct record failed; /* takes the place of every node once memory is out */
    bool planned;
    bool walking; /* backward is running; it may build segments again */
    bool wanted;  /* an op had an input that needs a gradient, whether it was recorded or not */
    int64_t blocks;
};

static struct tape *inside(struct clip_tape *t) { return (struct tape *)t; }
static struct record *record_of(struct clip_node *node) { return (struct record *)node; }

clip_status clip_tape_create(struct clip_tape **out, struct clip_error *error)
{
    struct tape *tape = calloc(1, sizeof *tape);
    struct block *block = calloc(1, sizeof *block);
    struct clip_workspace *workspace = clip_workspace_create();
    if (tape == NULL || block == NULL || workspace == NULL) {
        free(tape);
        free(block);
        clip_workspace_free(workspace);
        return clip_fail(error, CLIP_ERR_MEMORY, "out of memory while making a tape");
    }
    tape->first = tape->current = block;
    tape->public.record = true;
    tape->public.workspace = workspace;
    *out = &tape->public;
    return CLIP_OK;
}

void clip_tape_free(struct clip_tape *t)
{
    if (t == NULL) return;
    for (struct block *b = inside(t)->first, *next; b != NULL; b = next) {
        next = b->next;
        free(b);
    }
    clip_workspace_free(t->workspace);
    free(inside(t));
}

clip_status clip_tape_reserve(struct clip_tape *t, size_t bytes, struct clip_error *error)
{
    if (clip_workspace_reserve(t->workspace, bytes)) return CLIP_OK;
    return clip_fail(
        error, CLIP_ERR_MEMORY,
        "no address space for %.1f GB of activations; use a smaller batch_size, or micro_batch",
        (double)bytes / 1e9);
}

void clip_tape_clear(struct clip_tape *t)
{
    for (struct block *b = inside(t)->first; b != NULL; b = b->next) b->used = 0;
    inside(t)->current = inside(t)->first;
    clip_workspace_clear(t->workspace);
    if (inside(t)->planned != t->plan) clip_workspace_plan(t->workspace, t->plan);
    inside(t)->planned = t->plan;
    t->last = NULL;
    t->scope = NULL;
    t->status = CLIP_OK;
}

size_t clip_tape_peak(const struct clip_tape *t) { return clip_workspace_peak(t->workspace); }

int64_t clip_tape_grown(const struct clip_tape *t)
{
    return clip_workspace_grown(t->workspace) + ((const struct tape *)t)->blocks;
}

clip_status clip_tape_status(const struct clip_tape *t, struct clip_error *error)
{
    if (t->status == CLIP_OK) return CLIP_OK;
    return clip_fail(error, t->status,
                     "out of memory for activations; use a smaller batch_size, or micro_batch");
}

/* Memory for one record and its args; NULL when there is none. */
static struct record *new_record(struct clip_tape *t, size_t args_size)
{
    struct tape *tape = inside(t);
    size_t size = (sizeof(struct record) + args_size + 15) / 16 * 16;
    assert(size <= BLOCK_BYTES);
    if (tape->current->used + size > BLOCK_BYTES) {
        if (tape->current->next == NULL) {
            tape->current->next = calloc(1, sizeof *tape->current);
            tape->blocks++;
        }
        if (tape->current->next == NULL) return NULL;
        tape->current = tape->current->next;
    }
    struct record *record = (struct record *)(void *)(tape->current->bytes + tape->current->used);
    tape->current->used += size;
    *record = (struct record){.node = {.tape = t, .out = &record->out, .previous = t->last}};
    t->last = &record->node;
    return record;
}

static struct clip_piece *take(struct clip_tape *t, size_t bytes)
{
    struct clip_piece *piece = t->status == CLIP_OK ? clip_workspace_take(t->workspace, bytes)
                                                    : NULL;
    if (piece == NULL) t->status = CLIP_ERR_MEMORY;
    return piece;
}

static void give_back(struct clip_tape *t, struct clip_piece **piece)
{
    if (*piece != NULL) clip_workspace_give_back(t->workspace, *piece);
    *piece = NULL;
}

static void drop_value(struct clip_tape *t, struct record *r)
{
    give_back(t, &r->value);
    r->out.data = NULL;
}

static struct record *failed_record(struct clip_tape *t, enum clip_dtype dtype, int ndim,
                                    const int64_t *shape)
{
    struct record *record = &inside(t)->failed;
    t->status = CLIP_ERR_MEMORY;
    record->out = clip_tensor_view(dtype, NULL, ndim, shape);
    return record;
}

static struct record *make_output(struct clip_tape *t, enum clip_dtype dtype, int ndim,
                                  const int64_t *shape, size_t args_size)
{
    if (inside(t)->planned != t->plan)
        clip_tape_clear(t); /* `plan` was switched: nothing from before is in use */
    struct record *record = t->status == CLIP_OK ? new_record(t, args_size) : NULL;
    if (record == NULL) return failed_record(t, dtype, ndim, shape);
    record->out = clip_tensor_view(dtype, NULL, ndim, shape);
    record->out.node = &record->node;
    record->value = take(t, (size_t)clip_tensor_count(&record->out) * clip_dtype_size(dtype));
    if (record->value != NULL) record->out.data = clip_piece_data(record->value);
    return record;
}

struct clip_tensor *clip_tape_input(struct clip_tape *t, enum clip_dtype dtype, int ndim,
                                    const int64_t *shape)
{
    return &make_output(t, dtype, ndim, shape, 0)->out;
}

static void measure(struct clip_profile *profile, const char *name, bool backward, double seconds)
{
    enum { ROWS = sizeof profile->rows / sizeof profile->rows[0] };
    int i = 0;
    while (i < profile->count && strcmp(profile->rows[i].name, name) != 0) i++;
    if (i == ROWS) return;
    if (i == profile->count)
        profile->rows[profile->count++] = (struct clip_profile_row){.name = name};
    profile->rows[i].calls += !backward;
    *(backward ? &profile->rows[i].backward : &profile->rows[i].forward) += seconds;
}

/* Calls one of an op's functions with its scratch memory. */
static void run(struct clip_tape *t, struct clip_node *node, void (*function)(struct clip_node *))
{
    bool backward = function == node->op->backward;
    size_t bytes = node->op->scratch != NULL ? node->op->scratch(node, backward) : 0;
    struct clip_piece *scratch = bytes > 0 ? take(t, bytes) : NULL;
    if (t->status == CLIP_OK && !t->plan) {
        node->scratch = scratch != NULL ? clip_piece_data(scratch) : NULL;
        double started = t->profile != NULL ? clip_seconds() : 0;
        function(node);
        if (t->profile != NULL)
            measure(t->profile, node->op->name, inside(t)->walking, clip_seconds() - started);
    }
    node->scratch = NULL;
    give_back(t, &scratch);
}

/* Can a value be computed again? Not if no gradient flows through it: its op's inputs are not kept
 * then. */
static bool comes_again(const struct clip_tensor *tensor)
{
    const struct clip_op *op = tensor->node->op;
    return op != NULL && op->again != NULL && tensor->needs_grad;
}

static void mark_read(const struct clip_tensor *tensor)
{
    if (tensor->node != NULL && !comes_again(tensor)) record_of(tensor->node)->read = true;
}

struct clip_tensor *clip_tape_record(struct clip_tape *t, const struct clip_op *op,
                                     const struct clip_op_call *call)
{
    struct record *record = make_output(t, call->dtype, call->ndim, call->shape, call->args_size);
    if (t->status != CLIP_OK) return &record->out;
    struct clip_node *node = &record->node;
    node->op = op;
    node->args = record + 1;
    if (call->args_size > 0) memcpy(node->args, call->args, call->args_size);
    for (int i = 0; i < CLIP_MAX_INPUTS; i++) {
        struct clip_tensor *input = node->in[i] = call->inputs[i];
        if (input == NULL) continue;
        assert(input->data != NULL || t->plan);
        record->out.needs_grad |= input->needs_grad && t->record;
        inside(t)->wanted |= input->needs_grad;
    }
    size_t saved = op->saved != NULL ? op->saved(node) : 0;
    if (saved > 0) record->saved = take(t, saved);
    if (record->saved != NULL) node->saved = clip_piece_data(record->saved);
    run(t, node, op->forward);
    if (!record->out.needs_grad) {
        give_back(t, &record->saved);
        return &record->out;
    }
    for (int i = 0; i < CLIP_MAX_INPUTS; i++)
        if (node->in[i] != NULL && op->reads & CLIP_READS_INPUT(i)) mark_read(node->in[i]);
    if (op->reads & CLIP_READS_OUTPUT) record->read = true;
    return &record->out;
}

void clip_scope_enter(struct clip_tape *t, struct clip_scope *scope)
{
    if (inside(t)->planned != t->plan) clip_tape_clear(t); /* as the first op inside would */
    *scope = (struct clip_scope){.start = t->last, .outer = t->scope};
    t->scope = scope;
}

struct clip_tensor *clip_scope_leave(struct clip_tape *t, struct clip_scope *scope,
                                     struct clip_tensor *keep)
{
    assert(t->scope == scope || t->status != CLIP_OK);
    t->scope = scope->outer;
    if (t->status != CLIP_OK) return keep;
    for (struct clip_node *node = t->last; node != scope->start; node = node->previous) {
        struct record *record = record_of(node);
        if (!record->read && node->out != keep) drop_value(t, record);
    }
    return keep;
}

void clip_tape_release(struct clip_tape *t, struct clip_tensor *x)
{
    if (t->status == CLIP_OK && x->node != NULL && !record_of(x->node)->read)
        drop_value(t, record_of(x->node));
}

bool clip_grad_adds(struct clip_tensor *tensor)
{
    bool adds = !tensor->grad_empty;
    tensor->grad_empty = false;
    return adds;
}

static void zero_if_empty(struct clip_tensor *tensor)
{
    if (tensor->grad != NULL && !clip_grad_adds(tensor))
        clip_op_zero(tensor->grad, clip_tensor_count(tensor));
}

/* The input that may take over the memory of node->out's gradient, or NULL. No other op has added
 * to its gradient, and it is the op's input only once. */
static struct clip_tensor *heir(const struct clip_node *node)
{
    struct clip_tensor *in = node->op->passes > 0 ? node->in[node->op->passes - 1] : NULL;
    if (in == NULL || !in->needs_grad || in->node == NULL || record_of(in->node)->grad != NULL)
        return NULL;
    for (int i = 0; i < CLIP_MAX_INPUTS; i++)
        if (node->in[i] == in && i != node->op->passes - 1) return NULL;
    return in;
}

/* Gives every input that needs a gradient memory for it, which is empty if it is new. */
static void prepare_gradients(struct clip_tape *t, struct clip_node *node)
{
    const struct clip_tensor *passed = heir(node);
    for (int i = 0; i < CLIP_MAX_INPUTS; i++) {
        struct clip_tensor *in = node->in[i];
        if (in == NULL || in == passed || !in->needs_grad || t->status != CLIP_OK) continue;
        struct record *record = in->node != NULL ? record_of(in->node) : NULL;
        assert(in->grad != NULL || record != NULL || t->plan);
        if (record != NULL && record->grad == NULL) {
            record->grad = take(t, (size_t)clip_tensor_count(in) * sizeof(float));
            if (record->grad != NULL && !t->plan) in->grad = clip_piece_data(record->grad);
            in->grad_empty = true;
        }
        if (!t->plan && !node->op->overwrites) zero_if_empty(in);
    }
}

/* After backward: the memory of out's gradient goes to the heir, or back to the workspace. */
static void leave_gradient(struct clip_tape *t, struct clip_node *node)
{
    struct record *record = record_of(node);
    struct clip_tensor *passed = record->grad != NULL ? heir(node) : NULL;
    if (passed != NULL) {
        record_of(passed->node)->grad = record->grad;
        passed->grad = node->out->grad;
        passed->grad_empty = false;
        record->grad = NULL;
    }
    give_back(t, &record->grad);
    node->out->grad = NULL;
}

/* Computes a value that was given back again, after the values that its op reads. */
static void restore(struct clip_tape *t, struct clip_tensor *tensor);

static void restore_inputs(struct clip_tape *t, struct clip_node *node)
{
    for (int i = 0; i < CLIP_MAX_INPUTS; i++)
        if (node->in[i] != NULL && node->op->reads & CLIP_READS_INPUT(i)) restore(t, node->in[i]);
}

static void restore(struct clip_tape *t, struct clip_tensor *tensor)
{
    if (tensor->node == NULL || tensor->node->op == NULL) return;
    struct record *record = record_of(tensor->node);
    if (record->value != NULL || t->status != CLIP_OK) return;
    assert(comes_again(tensor));
    restore_inputs(t, tensor->node);
    record->value = take(t, (size_t)clip_tensor_count(tensor) * clip_dtype_size(tensor->dtype));
    if (record->value == NULL) return;
    tensor->data = clip_piece_data(record->value);
    run(t, tensor->node, tensor->node->op->again);
}

/* ---- segments ---- */

struct segment {
    clip_segment_fn build;
};

static const struct clip_op segment = {
    .name = "segment", .reads = CLIP_READS_INPUT(0), .overwrites = true};

struct clip_tensor *clip_tape_segment(struct clip_tape *t, clip_segment_fn build,
                                      struct clip_tensor *x, const void *args, size_t args_size)
{
    struct segment part = {build};
    struct clip_scope scope;
    if (!t->record) return build(t, x, args);
    clip_scope_enter(t, &scope);
    bool wanted = inside(t)->wanted;
    inside(t)->wanted = false;
    t->record = false;
    struct clip_tensor *y = clip_scope_leave(t, &scope, build(t, x, args));
    t->record = true;
    bool needs_grad = inside(t)->wanted;
    inside(t)->wanted |= wanted;
    if (!needs_grad || t->status != CLIP_OK) return y;

    struct record *made = record_of(y->node), *record = new_record(t, sizeof part + args_size);
    if (record == NULL) {
        t->status = CLIP_ERR_MEMORY;
        return y;
    }
    record->out = *y; /* and its memory becomes this one's */
    record->out.node = &record->node;
    record->out.needs_grad = true;
    record->value = made->value;
    made->value = NULL;
    made->out.data = NULL;
    record->node.op = &segment;
    record->node.args = record + 1;
    memcpy(record->node.args, &part, sizeof part);
    if (args_size > 0) memcpy((char *)record->node.args + sizeof part, args, args_size);
    record->node.in[0] = x;
    mark_read(x);
    return &record->out;
}

static void walk(struct clip_tape *t, struct clip_node *top, const struct clip_node *end);

/* A segment's backward: builds it again from a leaf that takes x's place, walks it back, and
 * forgets it. */
static void run_segment(struct clip_tape *t, struct clip_node *node)
{
    struct tape *tape = inside(t);
    struct clip_node *last = t->last;
    struct block *block = tape->current;
    size_t used = block->used;
    struct segment part;
    struct clip_tensor x = *node->in[0];
    memcpy(&part, node->args, sizeof part);
    x.node = NULL;
    struct clip_tensor *y = part.build(t, &x, (const char *)node->args + sizeof part);
    if (t->status == CLIP_OK) {
        assert(y->node == t->last);
        struct record *again = record_of(y->node), *record = record_of(node);
        again->grad = record->grad;
        record->grad = NULL;
        y->grad = node->out->grad;
        walk(t, y->node, last);
        drop_value(t, again);
        node->in[0]->grad_empty = x.grad_empty;
    }
    for (struct block *b = block->next; b != NULL; b = b->next) b->used = 0;
    block->used = used;
    tape->current = block;
    t->last = last;
}

/* Runs the backward of `top` and of all nodes before it, down to but without `end`. */
static void walk(struct clip_tape *t, struct clip_node *top, const struct clip_node *end)
{
    for (struct clip_node *node = top; node != end && t->status == CLIP_OK; node = node->previous) {
        struct record *record = record_of(node);
        if (node->op == NULL) continue;
        if (record->grad != NULL) {
            restore_inputs(t, node);
            if (node->op->reads & CLIP_READS_OUTPUT) restore(t, node->out);
            prepare_gradients(t, node);
            if (node->op == &segment)
                run_segment(t, node);
            else
                run(t, node, node->op->backward);
        }
        leave_gradient(t, node);
        give_back(t, &record->saved);
        if (node != top) drop_value(t, record);
    }
}

void clip_tape_seed(struct clip_tape *t, struct clip_tensor *y, const float *dy)
{
    if (t->status != CLIP_OK || y->node == NULL || !y->needs_grad) return;
    struct record *top = record_of(y->node);
    size_t bytes = (size_t)clip_tensor_count(y) * sizeof(float);
    top->grad = take(t, bytes);
    if (top->grad != NULL && !t->plan) y->grad = memcpy(clip_piece_data(top->grad), dy, bytes);
}

static void walk_from(struct clip_tape *t, struct clip_node *top)
{
    inside(t)->walking = true;
    walk(t, top, NULL);
    inside(t)->walking = false;
}

void clip_tape_backward_seeded(struct clip_tape *t)
{
    if (t->status == CLIP_OK && t->last != NULL) walk_from(t, t->last);
}

void clip_tape_backward_from(struct clip_tape *t, struct clip_tensor *y, const float *dy)
{
    if (t->status != CLIP_OK || y->node == NULL || !y->needs_grad) return;
    clip_tape_seed(t, y, dy);
    walk_from(t, y->node);
}

void clip_tape_backward(struct clip_tape *t, struct clip_tensor *loss)
{
    CLIP_OP_ASSERT(t, clip_tensor_count(loss) == 1);
    clip_tape_backward_from(t, loss, &(const float){1.0f});
}
