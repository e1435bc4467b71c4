#!/usr/bin/env python3
"""A Hugging Face folder of a large model's shape with random bf16 weights, for measuring what conversion costs.

    make_checkpoint.py OUT [--shape qwen3-0.6b|qwen3-4b] [--shards N]

Values are normal with the spread of trained weights; the tokenizer is that of the tiny test models. Written a tensor at
a time."""
import argparse
import json
import pathlib
import struct
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "golden"))
import tiny_models  # noqa: E402

_qwen3 = dict(model_type="qwen3", vocab_size=151936, head_dim=128, num_key_value_heads=8, rms_norm_eps=1e-6,
              tie_word_embeddings=True, max_position_embeddings=40960,
              rope_parameters=dict(rope_type="default", rope_theta=1e6))
SHAPES = {
    "qwen3-0.6b": dict(_qwen3, hidden_size=1024, intermediate_size=3072, num_hidden_layers=28, num_attention_heads=16),
    "qwen3-4b": dict(_qwen3, hidden_size=2560, intermediate_size=9728, num_hidden_layers=36, num_attention_heads=32),
}


def write_shard(path, shapes, rng):
    header, offset = {}, 0
    for name, shape in shapes.items():
        n = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + n]}
        offset += n
    text = json.dumps(header).encode()
    pool = rng.standard_normal(1 << 22, dtype=np.float32)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for shape in shapes.values():
            left = int(np.prod(shape))
            scale = 1.0 if len(shape) == 1 else 0.02
            while left:  # a window of the pool, elsewhere each time
                at = int(rng.integers(1 << 21))
                n = min(left, (1 << 22) - at)
                out.write(tiny_models.bf16_bits(pool[at:at + n] * scale).tobytes())
                left -= n


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--shape", choices=SHAPES, default="qwen3-0.6b")
    parser.add_argument("--shards", type=int, default=1)
    args = parser.parse_args()
    config = SHAPES[args.shape]
    tiny_models.write_folder(args.out, None, config=config, tensors={})
    shapes = tiny_models.shapes(config)
    names, rng, weight_map = list(shapes), np.random.default_rng(1), {}
    (args.out / "model.safetensors").unlink()
    for shard in range(args.shards):
        file = f"model-{shard + 1:05d}-of-{args.shards:05d}.safetensors"
        part = {n: shapes[n] for n in names[shard::args.shards]}
        weight_map.update({n: file for n in part})
        write_shard(args.out / file, part, rng)
    (args.out / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


main()
