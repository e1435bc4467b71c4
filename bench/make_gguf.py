#!/usr/bin/env python3
"""Writes a GGUF with random weights in a Qwen3 shape of make_model.py, for peers that read GGUF.

    bench/make_gguf.py qwen3-0.6b q4_0 FILE.gguf

Every matrix, the embedding (which is the head as well) included, has the type named, as llama-quantize --pure writes
it; norms are 1. It has no tokenizer: for programs that measure speed on token numbers. Standard library only."""
import argparse
import pathlib
import random
import struct
from math import prod

from make_model import SHAPES

# type: (number in GGUF, file_type, bytes of a block of 32: an fp16 scale and its codes)
TYPES = {"q4_0": (2, 2, 18), "q8_0": (8, 7, 34)}
SCALE = struct.pack("<e", 0.004)
BLOCKS = 1 << 16
STRING, U32, F32 = 8, 4, 6


def string(text):
    return struct.pack("<Q", len(text)) + text.encode()


def metadata(config, file_type):
    numbers = {"block_count": config["num_hidden_layers"], "context_length": config["max_position_embeddings"],
               "embedding_length": config["hidden_size"], "feed_forward_length": config["intermediate_size"],
               "attention.head_count": config["num_attention_heads"],
               "attention.head_count_kv": config["num_key_value_heads"], "attention.key_length": config["head_dim"],
               "attention.value_length": config["head_dim"], "vocab_size": config["vocab_size"],
               "rope.freq_base": float(config["rope_theta"]),
               "attention.layer_norm_rms_epsilon": float(config["rms_norm_eps"])}
    entries = [string("general.architecture") + struct.pack("<I", STRING) + string("qwen3"),
               string("general.file_type") + struct.pack("<II", U32, file_type),
               string("tokenizer.ggml.model") + struct.pack("<I", STRING) + string("no_vocab")]
    for name, value in numbers.items():
        kind, code = (F32, "f") if isinstance(value, float) else (U32, "I")
        entries.append(string("qwen3." + name) + struct.pack("<I" + code, kind, value))
    return len(entries), b"".join(entries)


def tensors(config):
    """(name, shape with the fastest dimension first) in file order."""
    hidden, ffn, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    q, kv = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    yield "token_embd.weight", (hidden, config["vocab_size"])
    yield "output_norm.weight", (hidden,)
    for layer in range(config["num_hidden_layers"]):
        for name, shape in dict(attn_norm=(hidden,), attn_q=(hidden, q), attn_k=(hidden, kv), attn_v=(hidden, kv),
                                attn_output=(q, hidden), attn_q_norm=(head,), attn_k_norm=(head,), ffn_norm=(hidden,),
                                ffn_gate=(hidden, ffn), ffn_up=(hidden, ffn), ffn_down=(ffn, hidden)).items():
            yield f"blk.{layer}.{name}.weight", shape


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=sorted(name for name in SHAPES if SHAPES[name]["model_type"] == "qwen3"))
    parser.add_argument("type", choices=sorted(TYPES))
    parser.add_argument("file", type=pathlib.Path)
    args = parser.parse_args()
    number, file_type, block = TYPES[args.type]
    config, infos, sizes, at = SHAPES[args.shape], [], [], 0
    for name, shape in tensors(config):
        matrix = len(shape) > 1
        size = prod(shape) // 32 * block if matrix else 4 * prod(shape)
        infos.append(string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, number if matrix else 0, at))
        sizes.append((matrix, size))
        at += size + -size % 32
    n_entries, entries = metadata(config, file_type)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(infos), n_entries) + entries + b"".join(infos)
    codes = bytearray(random.Random(1).randbytes(block * BLOCKS))
    codes[0::block], codes[1::block] = SCALE[:1] * BLOCKS, SCALE[1:] * BLOCKS
    with open(args.file, "wb") as f:
        f.write(head + bytes(-len(head) % 32))
        for matrix, size in sizes:
            for left in range(size if matrix else 0, 0, -len(codes)):
                f.write(codes[:left])
            f.write(b"" if matrix else struct.pack("<f", 1.0) * (size // 4))
            f.write(bytes(-size % 32))


if __name__ == "__main__":
    main()
