#!/usr/bin/env python3
"""open_clip's DistributedDataParallel on the run of a reference set (training/), against ours.

    peer_processes.py SET OURS

SET is the folder of a reference set; OURS a file with a loss per line, as
`mpirun -n 2 build-mpi/tests/test_comm` writes it where CLIP_LOSSES names one. Two gloo processes, with
--local-loss --gather-with-grad, take the same batches; the losses of all steps must agree to 1e-4.
"""
import json, math, pathlib, sys
import torch

_ops = torch.library.Library("torchvision", "DEF")
for _sig in ("nms(Tensor a, Tensor b, float c) -> Tensor", "qnms(Tensor a, Tensor b, float c) -> Tensor"):
    _ops.define(_sig)
import open_clip
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file

PROCESSES = 2


def lr_at(config, step):
    warmup, total = config["warmup"], config["total_steps"]
    if step < warmup:
        return config["lr"] * (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup))) * config["lr"]


def run(rank, root, out):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{out}.store", rank=rank, world_size=PROCESSES)
    config = json.loads((root / "training/config.json").read_text())
    data = load_file(root / "training/data.safetensors")
    model = open_clip.CLIP(**config["model_cfg"])
    model.load_state_dict(load_file(root / "training/init.safetensors"), strict=False)
    model.train()
    exclude = lambda n, p: p.ndim < 2 or any(s in n for s in ("bn", "ln", "bias", "logit_scale"))
    named = list(model.named_parameters())
    adamw = torch.optim.AdamW(
        [{"params": [p for n, p in named if exclude(n, p)], "weight_decay": 0.0},
         {"params": [p for n, p in named if not exclude(n, p)], "weight_decay": config["weight_decay"]}],
        lr=config["lr"], betas=config["betas"], eps=config["eps"])
    ddp = torch.nn.parallel.DistributedDataParallel(model)
    loss_fn = open_clip.ClipLoss(local_loss=True, gather_with_grad=True, rank=rank, world_size=PROCESSES)
    mean = torch.tensor(config["mean"]).view(1, 3, 1, 1)
    std = torch.tensor(config["std"]).view(1, 3, 1, 1)
    batch, losses = config["batch_size"], []
    own = batch // PROCESSES
    for step in range(config["steps"]):
        pairs = data["order"].flatten()[step * batch + rank * own:][:own].long()
        images = (data["images"][pairs].float() / 255 - mean) / std
        texts = data["input_ids"][pairs].long()
        for group in adamw.param_groups:
            group["lr"] = lr_at(config, step)
        adamw.zero_grad()
        loss = loss_fn(*ddp(images, texts))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config["grad_clip_norm"])
        adamw.step()
        with torch.no_grad():
            model.logit_scale.clamp_(*config["logit_scale_range"])
            total = loss.detach().clone()
            dist.all_reduce(total)  # each has the mean over its own rows
            losses.append(total.item() / PROCESSES)
    if rank == 0:
        pathlib.Path(out).write_text("\n".join(map(str, losses)))
    dist.destroy_process_group()


def main():
    root, ours = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    theirs = pathlib.Path(str(ours) + ".peer")
    mp.spawn(run, (root, str(theirs)), PROCESSES)
    a = [float(x) for x in ours.read_text().split()]
    b = [float(x) for x in theirs.read_text().split()]
    worst = max(abs(x - y) for x, y in zip(a, b, strict=True))
    print(f"{len(a)} steps, the losses differ by at most {worst:.2e}")
    sys.exit(worst > 1e-4)


if __name__ == "__main__":
    main()
