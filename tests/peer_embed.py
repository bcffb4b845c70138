#!/usr/bin/env python3
"""open_clip and onnxruntime embedding drawn images and texts, with clip_bench embed's shapes.

Prints one JSON object with the names that clip_bench embed uses: items a second by the median.
open_clip pads every text to context_length. onnxruntime runs open_clip's image tower as exported
by torch, where torch can export.
"""
import argparse, io, json, statistics, time
import torch

try:
    import torchvision  # noqa: F401
except (ImportError, RuntimeError):  # none, or not of this torch: open_clip asks for its operators
    _ops = torch.library.Library("torchvision", "DEF")
    for _sig in ("nms(Tensor a, Tensor b, float c) -> Tensor",
                 "qnms(Tensor a, Tensor b, float c) -> Tensor"):
        _ops.define(_sig)
import open_clip


def rate(run, n, runs):
    run()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return n / statistics.median(seconds)


def onnx_rate(model, pixels, runs):
    import onnxruntime
    file = io.BytesIO()
    torch.onnx.export(model.visual, (pixels,), file, input_names=["pixels"], dynamo=False)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    return rate(lambda: session.run(None, {"pixels": pixels.numpy()}), len(pixels), runs)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--model", default="ViT-B-32")
    p.add_argument("--batch-size", type=int, default=32)
    p.add_argument("--tokens", type=int, default=14)
    p.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    p.add_argument("--runs", type=int, default=5)
    a = p.parse_args()
    torch.manual_seed(0)
    model = open_clip.CLIP(**open_clip.get_model_config(a.model)).eval()
    out = {}
    for suffix, n in (("_alone", 1), ("", a.batch_size)):
        pixels = torch.randn(n, 3, 224, 224)
        text = torch.zeros(n, 77, dtype=torch.long)
        text[:, : a.tokens] = torch.randint(1, 49406, (n, a.tokens))
        text[:, a.tokens - 1] = 49407
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, a.precision == "bf16"):
            out["images" + suffix + "_per_second"] = rate(
                lambda: model.encode_image(pixels), n, a.runs)
            out["texts" + suffix + "_per_second"] = rate(
                lambda: model.encode_text(text), n, a.runs)
        if a.precision == "fp32":
            try:
                out["onnxruntime_images" + suffix + "_per_second"] = onnx_rate(
                    model, pixels, a.runs)
            except Exception as e:
                out["onnxruntime_error"] = str(e).splitlines()[0]
    print(json.dumps(out))


main()
