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

QWEN3 = dict(model_type="qwen3", vocab_size=151936, head_dim=128, num_hidden_layers=28, num_attention_heads=16,
             num_key_value_heads=8, rms_norm_eps=1e-6, tie_word_embeddings=True, max_position_embeddings=40960,
             rope_theta=1e6, hidden_act="silu", attention_bias=False)
SHAPES = {
    "qwen3-0.6b": dict(QWEN3, hidden_size=1024, intermediate_size=3072),
    "qwen3-1.7b": dict(QWEN3, hidden_size=2048, intermediate_size=6144),
    "qwen3-4b": dict(QWEN3, hidden_size=2560, intermediate_size=9728, num_hidden_layers=36, num_attention_heads=32),
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


def shapes(c):
    hidden, ffn, dim = c["hidden_size"], c["intermediate_size"], c["head_dim"]
    q, kv = c["num_attention_heads"] * dim, c["num_key_value_heads"] * dim
    yield "model.embed_tokens.weight", (c["vocab_size"], hidden)
    for layer in range(c["num_hidden_layers"]):
        p = f"model.layers.{layer}."
        yield p + "input_layernorm.weight", (hidden,)
        yield p + "post_attention_layernorm.weight", (hidden,)
        if c["model_type"] == "qwen3":
            yield p + "self_attn.q_norm.weight", (dim,)
            yield p + "self_attn.k_norm.weight", (dim,)
        yield p + "self_attn.q_proj.weight", (q, hidden)
        yield p + "self_attn.k_proj.weight", (kv, hidden)
        yield p + "self_attn.v_proj.weight", (kv, hidden)
        yield p + "self_attn.o_proj.weight", (hidden, q)
        yield p + "mlp.gate_proj.weight", (ffn, hidden)
        yield p + "mlp.up_proj.weight", (ffn, hidden)
        yield p + "mlp.down_proj.weight", (hidden, ffn)
    yield "model.norm.weight", (hidden,)


def bf16(rng, shape):
    """The tensor's bytes in pieces."""
    left = 2 * (shape[0] * shape[1] if len(shape) > 1 else shape[0])
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
        size = 2 * (shape[0] * shape[1] if len(shape) > 1 else shape[0])
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
    args.folder.mkdir(parents=True, exist_ok=True)
    (args.folder / "config.json").write_text(json.dumps(config, indent=1))
    (args.folder / "tokenizer.json").write_text(json.dumps(byte_tokenizer()))
    write_weights(args.folder, config, args.shards)


if __name__ == "__main__":
    main()
