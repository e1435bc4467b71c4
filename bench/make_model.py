#!/usr/bin/env python3
"""Writes a Hugging Face folder with random bf16 weights in the shape of a known model, for speed measurements.

    bench/make_model.py qwen3-0.6b FOLDER [--layers N] [--shards N]
    edge-llm convert FOLDER -o model.elm --quant int4 --embed int4 --head int4

Speed depends on shapes, not on values; what the model says is noise. Standard library only. Every weight has a random
sign and one of many magnitudes in [2^-9, 2^-5), norms are 1, so that activations keep their size over the layers and no
step meets NaN or denormals. The tokenizer's ids are the bytes."""
import argparse
import json
import pathlib
import random
import struct
import sys
from math import prod

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "golden"))
import tiny_shapes  # noqa: E402

QWEN3 = dict(model_type="qwen3", vocab_size=151936, head_dim=128, num_hidden_layers=28, num_attention_heads=16,
             num_key_value_heads=8, rms_norm_eps=1e-6, tie_word_embeddings=True, max_position_embeddings=40960,
             rope_theta=1e6, hidden_act="silu", attention_bias=False)
SHAPES = {
    "qwen3-0.6b": dict(QWEN3, hidden_size=1024, intermediate_size=3072),
    "qwen3-1.7b": dict(QWEN3, hidden_size=2048, intermediate_size=6144),
    "qwen3-4b": dict(QWEN3, hidden_size=2560, intermediate_size=9728, num_hidden_layers=36, num_attention_heads=32),
    "qwen3.5-0.8b": dict(model_type="qwen3_5_text", vocab_size=248320, hidden_size=1024, intermediate_size=3584,
                         num_hidden_layers=24, num_attention_heads=8, num_key_value_heads=2, head_dim=256,
                         rms_norm_eps=1e-6, tie_word_embeddings=True, max_position_embeddings=262144,
                         linear_conv_kernel_dim=4, linear_num_key_heads=16, linear_num_value_heads=16,
                         linear_key_head_dim=128, linear_value_head_dim=128, mtp_num_hidden_layers=1,
                         rope_parameters=dict(rope_type="default", rope_theta=1e7, partial_rotary_factor=0.25)),
    "gemma4-e2b": dict(model_type="gemma4_text", vocab_size=262144, vocab_size_per_layer_input=262144, hidden_size=1536,
                       intermediate_size=6144, use_double_wide_mlp=True, num_hidden_layers=35,
                       layer_types=(["sliding_attention"] * 4 + ["full_attention"]) * 7, num_attention_heads=8,
                       num_key_value_heads=1, head_dim=256, global_head_dim=512, sliding_window=512,
                       num_kv_shared_layers=20, hidden_size_per_layer_input=256, rms_norm_eps=1e-6,
                       tie_word_embeddings=True, max_position_embeddings=131072,
                       hidden_activation="gelu_pytorch_tanh", final_logit_softcapping=30.0,
                       rope_parameters=dict(sliding_attention=dict(rope_type="default", rope_theta=1e4),
                                            full_attention=dict(rope_type="proportional", rope_theta=1e6,
                                                                partial_rotary_factor=0.25))),
    "llama-3.2-1b": dict(model_type="llama", vocab_size=128256, hidden_size=2048, intermediate_size=8192, head_dim=64,
                         num_hidden_layers=16, num_attention_heads=32, num_key_value_heads=8, rms_norm_eps=1e-5,
                         tie_word_embeddings=True, max_position_embeddings=131072, rope_theta=5e5, hidden_act="silu"),
    "smollm2-135m": dict(model_type="llama", vocab_size=49152, hidden_size=576, intermediate_size=1536, head_dim=64,
                         num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3, rms_norm_eps=1e-5,
                         tie_word_embeddings=True, max_position_embeddings=8192, rope_theta=1e5, hidden_act="silu"),
}
CHUNK = 1 << 22

# High byte of a bf16 to sign and the upper exponent bits 0x3b or 0x3c; the low byte stays random.
HIGH_BYTE = bytes((b & 0x80) | (0x3B if b & 1 else 0x3C) for b in range(256))


def shapes(config):
    """(name, shape) of every tensor, the draft head's included."""
    table = tiny_shapes.shapes(config)
    if config["model_type"].startswith("qwen3_5"):
        table |= tiny_shapes.mtp(config)
    return table.items()


def bf16(rng, shape):
    """The tensor's bytes in pieces."""
    left = 2 * prod(shape)
    while left > 0:
        n = min(left, CHUNK)
        data = bytearray(rng.randbytes(n) if len(shape) > 1 else b"\x80\x3f" * (n // 2))
        if len(shape) > 1:
            data[1::2] = data[1::2].translate(HIGH_BYTE)
        yield data
        left -= n


def write_shard(path, tensors, rng):
    header, at = {}, 0
    for name, shape in tensors:
        size = 2 * prod(shape)
        header[name] = dict(dtype="BF16", shape=list(shape), data_offsets=[at, at + size])
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, shape in tensors:
            for piece in bf16(rng, shape):
                f.write(piece)


def write_weights(folder, config, shards):
    rng, tensors, weight_map = random.Random(1), list(shapes(config)), {}
    if shards == 1:
        write_shard(folder / "model.safetensors", tensors, rng)
        return
    for shard in range(shards):
        name, part = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors", tensors[shard::shards]
        write_shard(folder / name, part, rng)
        weight_map.update({tensor: name for tensor, _ in part})
    index = dict(metadata={}, weight_map=weight_map)
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))


def byte_tokenizer():
    keep = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    vocab, extra = {}, 0
    for byte in range(256):
        vocab[chr(byte) if byte in keep else chr(256 + extra)] = byte
        extra += byte not in keep
    byte_level = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True)
    return dict(version="1.0", truncation=None, padding=None, added_tokens=[], normalizer=None,
                pre_tokenizer=byte_level, post_processor=None, decoder=byte_level,
                model=dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix=None,
                           end_of_word_suffix=None, fuse_unk=False, byte_fallback=False, vocab=vocab, merges=[]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=sorted(SHAPES))
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--layers", type=int, help="fewer layers than the model has")
    parser.add_argument("--shards", type=int, default=1, help="files that the weights are spread over")
    args = parser.parse_args()
    config = dict(SHAPES[args.shape], torch_dtype="bfloat16")
    if args.layers:
        config["num_hidden_layers"] = args.layers
        if "layer_types" in config:
            config["layer_types"] = config["layer_types"][:args.layers]
    args.folder.mkdir(parents=True, exist_ok=True)
    (args.folder / "config.json").write_text(json.dumps(config, indent=1))
    (args.folder / "tokenizer.json").write_text(json.dumps(byte_tokenizer()))
    write_weights(args.folder, config, args.shards)


if __name__ == "__main__":
    main()
