#!/usr/bin/env python3
"""Writes a checkpoint with the shapes of a real model and random weights, to measure with.

  synthetic_model.py qwen3-0.6b|qwen3.5-0.8b|gemma4-e2b FOLDER [layers]

bfloat16 shards of safetensors, config.json, a tokenizer of bytes. One block of random numbers is used over and over:
what is measured does not depend on it, and 9 GB are written at the speed of the disk. `layers` cuts the model off."""
import json
import pathlib
import struct
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "golden"))
import tiny_models  # noqa: E402
from tiny_shapes import mtp, shapes  # noqa: E402

SHARD_BYTES = 2 << 30
BLOCK = 1 << 22

_s, _f = "sliding_attention", "full_attention"
CONFIGS = {
    "qwen3-0.6b": dict(
        model_type="qwen3", vocab_size=151936, hidden_size=1024, intermediate_size=3072, num_hidden_layers=28,
        num_attention_heads=16, num_key_value_heads=8, head_dim=128, rms_norm_eps=1e-6, tie_word_embeddings=True,
        max_position_embeddings=40960, rope_parameters=dict(rope_type="default", rope_theta=1e6)),
    "qwen3.5-0.8b": dict(
        model_type="qwen3_5_text", vocab_size=248320, hidden_size=1024, intermediate_size=3584, num_hidden_layers=24,
        num_attention_heads=8, num_key_value_heads=2, head_dim=256, rms_norm_eps=1e-6, tie_word_embeddings=True,
        linear_conv_kernel_dim=4, linear_num_key_heads=16, linear_num_value_heads=16, linear_key_head_dim=128,
        linear_value_head_dim=128, max_position_embeddings=262144, mtp_num_hidden_layers=1,
        rope_parameters=dict(rope_type="default", rope_theta=1e7, partial_rotary_factor=0.25)),
    "gemma4-e2b": dict(
        model_type="gemma4_text", vocab_size=262144, vocab_size_per_layer_input=262144, hidden_size=1536,
        intermediate_size=6144, use_double_wide_mlp=True, num_hidden_layers=35, layer_types=([_s] * 4 + [_f]) * 7,
        num_attention_heads=8, num_key_value_heads=1, head_dim=256, global_head_dim=512, sliding_window=512,
        num_kv_shared_layers=20, hidden_size_per_layer_input=256, rms_norm_eps=1e-6, tie_word_embeddings=True,
        hidden_activation="gelu_pytorch_tanh", final_logit_softcapping=30.0, max_position_embeddings=131072,
        rope_parameters=dict(sliding_attention=dict(rope_type="default", rope_theta=1e4),
                             full_attention=dict(rope_type="proportional", rope_theta=1e6,
                                                 partial_rotary_factor=0.25))),
}


def cut(config, layers):
    config = dict(config, num_hidden_layers=layers)
    if "layer_types" in config:
        config["layer_types"] = config["layer_types"][:layers]
    return config


def write_tensor(out, name, shape, block):
    """Random numbers of a spread that keeps activations moderate; norms and scalars near 1."""
    n, scale = int(np.prod(shape)), np.sqrt(3.0 / shape[-1])
    if len(shape) == 1:
        values = 1.0 + 0.1 * block[:n] if "A_log" not in name else block[:n]
        out.write(tiny_models.bf16_bits(values).tobytes())
        return
    bits = tiny_models.bf16_bits(block * (0.02 if "embed" in name else scale))
    for at in range(0, n, BLOCK):
        out.write(bits[:min(BLOCK, n - at)].tobytes())


def main():
    config, folder = CONFIGS[sys.argv[1]], pathlib.Path(sys.argv[2])
    if len(sys.argv) > 3:
        config = cut(config, int(sys.argv[3]))
    table = shapes(config) | (mtp(config) if config["model_type"].startswith("qwen3_5") else {})
    block = np.random.default_rng(1).uniform(-1, 1, BLOCK).astype(np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    shards, size = [[]], 0
    for name, shape in table.items():
        size += 2 * int(np.prod(shape))
        if size > SHARD_BYTES and shards[-1]:
            shards.append([])
            size = 2 * int(np.prod(shape))
        shards[-1].append(name)
    weight_map = {}
    for i, names in enumerate(shards):
        file, header, offset = f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors", {}, 0
        for name in names:
            end = offset + 2 * int(np.prod(table[name]))
            header[name] = {"dtype": "BF16", "shape": list(table[name]), "data_offsets": [offset, end]}
            weight_map[name], offset = file, end
        text = json.dumps(header).encode()
        with open(folder / file, "wb") as out:
            out.write(struct.pack("<Q", len(text)) + text)
            for name in names:
                write_tensor(out, name, table[name], block)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps(tiny_models.byte_tokenizer()))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": tiny_models.TEMPLATE}))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 255}))


main()
