#include "train/together.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoints/checksum.h"
#include "core/json.h"
#include "core/progress.h"
#include "kernels/kernels.h"

clip_status clip_together_kernels(const struct clip_comm *comm, struct clip_error *error)
{
    int level = clip_kernels_level();
    int least = (int)clip_comm_least(comm, level), most = (int)clip_comm_most(comm, level);
    if (least == most) return CLIP_OK;
    if (strcmp(clip_kernels_name(most), "openblas") == 0)
        return clip_fail(error, CLIP_ERR_USAGE,
                         "CLIP_KERNELS=openblas is set for some of the processes; set it for all "
                         "(mpirun -x CLIP_KERNELS) or for none");
    if (clip_comm_rank(comm) == 0)
        clip_say("the processes' processors differ; all of them use the kernels that each has: %s",
                 clip_kernels_name(least));
    if (setenv("CLIP_KERNELS", clip_kernels_name(least), 1) != 0)
        return clip_fail(error, CLIP_ERR_MEMORY, "out of memory");
    return CLIP_OK;
}

/* Of what decides a run: not of where its files lie. */
static clip_status checksum(const struct clip_setup *s, const json_t *data, uint32_t *sum,
                            struct clip_error *error)
{
    clip_status status;
    struct clip_buffer text = {0};
    CLIP_TRY(clip_config_write(s->config, &text, error));
    CLIP_TRY(clip_json_append(&text, data, error));
    *sum = clip_crc32(0, text.data, text.size);
out:
    clip_buffer_release(&text);
    return status;
}

clip_status clip_together_check(const struct clip_setup *s, const json_t *data,
                                struct clip_error *error)
{
    uint32_t sum = 0;
    clip_status status = clip_comm_agree(s->comm, checksum(s, data, &sum, error), error);
    if (status != CLIP_OK) return status;
    if (clip_comm_least(s->comm, sum) == clip_comm_most(s->comm, sum)) return CLIP_OK;
    return clip_fail(
        error, CLIP_ERR_DATA,
        "the processes have read different configurations or data; the same paths must "
        "hold the same files on every host");
}

int clip_together_mute(const struct clip_comm *comm)
{
    int nowhere, muted = -1;
    if (clip_comm_rank(comm) == 0) return -1;
    nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (nowhere < 0) return -1;
    muted = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    if (muted >= 0) dup2(nowhere, STDERR_FILENO);
    close(nowhere);
    return muted;
}

void clip_together_unmute(int muted)
{
    if (muted < 0) return;
    dup2(muted, STDERR_FILENO);
    close(muted);
}
