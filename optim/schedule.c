#include <math.h>

#include "core/choice.h"
#include "optim/optim.h"

const char *clip_schedule_name(int kind)
{
    static const char *const names[] = {
        [CLIP_SCHEDULE_COSINE] = "cosine",
        [CLIP_SCHEDULE_CONST] = "const",
        [CLIP_SCHEDULE_COOLDOWN] = "const-cooldown",
    };
    return CLIP_NAME_OF(names, kind);
}

double clip_schedule_lr(const struct clip_schedule *s, int64_t step)
{
    const double pi = 3.14159265358979323846;
    if (step < s->warmup) return s->lr * (double)(step + 1) / (double)s->warmup;
    if (s->kind == CLIP_SCHEDULE_COSINE) {
        double e = (double)(step - s->warmup), span = (double)(s->total - s->warmup);
        return span > 0 ? 0.5 * (1 + cos(pi * e / span)) * s->lr : s->lr;
    }
    int64_t start = s->total - s->cooldown;
    if (s->kind == CLIP_SCHEDULE_CONST || step < start) return s->lr;
    return s->lr * (1 - (double)(step - start) / (double)s->cooldown);
}
