"""GGUF files of tiny models, as llama.cpp's converter writes them: names, metadata, permuted q and k, and blocks of
Q4_0, Q4_1 and Q8_0."""
import struct

import numpy as np

import tiny_models

TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 8, "BF16": 30}
_U32, _F32, _STRING, _ARRAY, _I32 = 4, 6, 8, 9, 5
NAMES = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def encode(values, kind):
    """Bytes of one tensor, and the float32 values that they stand for."""
    x = np.ascontiguousarray(values, np.float32)
    if kind == "F32":
        return x.tobytes(), x
    if kind == "F16":
        return x.astype(np.float16).tobytes(), x.astype(np.float16).astype(np.float32)
    if kind == "BF16":
        bits = tiny_models.bf16_bits(x)
        return bits.tobytes(), (bits.astype(np.uint32) << 16).view(np.float32)
    blocks = x.reshape(-1, 32)
    if kind == "Q8_0":
        d = (np.abs(blocks).max(axis=1) / 127).astype(np.float16)
        q = np.rint(blocks / np.maximum(d.astype(np.float32), 1e-9)[:, None]).clip(-127, 127).astype(np.int8)
        data = b"".join(s.tobytes() + c.tobytes() for s, c in zip(d, q))
        return data, (d.astype(np.float32)[:, None] * q).reshape(x.shape)
    if kind == "Q4_0":
        largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1)[:, None], 1)[:, 0]
        d, m = (largest / -8).astype(np.float16), np.float32(0)
        u = np.rint(blocks / d.astype(np.float32)[:, None] + 8).clip(0, 15).astype(np.uint8)
        values = d.astype(np.float32)[:, None] * (u.astype(np.float32) - 8)
        heads = [s.tobytes() for s in d]
    else:
        low = blocks.min(axis=1)
        d, m = ((blocks.max(axis=1) - low) / 15).astype(np.float16), low.astype(np.float16)
        u = np.rint((blocks - m.astype(np.float32)[:, None]) / d.astype(np.float32)[:, None]).clip(0, 15)
        u = u.astype(np.uint8)
        values = d.astype(np.float32)[:, None] * u.astype(np.float32) + m.astype(np.float32)[:, None]
        heads = [s.tobytes() + t.tobytes() for s, t in zip(d, m)]
    packed = u[:, :16] | u[:, 16:] << 4
    return b"".join(h + p.tobytes() for h, p in zip(heads, packed)), values.reshape(x.shape)


def _text(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(key, value):
    if isinstance(value, str):
        return _text(key) + struct.pack("<I", _STRING) + _text(value)
    if isinstance(value, float):
        return _text(key) + struct.pack("<If", _F32, value)
    if isinstance(value, int):
        return _text(key) + struct.pack("<II", _U32, value)
    kind = _STRING if isinstance(value[0], str) else _I32
    items = b"".join(_text(v) if kind == _STRING else struct.pack("<i", v) for v in value)
    return _text(key) + struct.pack("<IIQ", _ARRAY, kind, len(value)) + items


def _gguf_name(name, architecture):
    if not name.startswith("model.layers."):
        return {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
                "lm_head.weight": "output.weight"}[name]
    _, _, layer, rest = name.split(".", 3)
    middle, kind = rest.rsplit(".", 1)
    names = dict(NAMES)
    if architecture == "gemma3":
        names.update({"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
                      "post_feedforward_layernorm": "post_ffw_norm"})
    else:
        names["post_attention_layernorm"] = "ffn_norm"
    return f"blk.{layer}.{names[middle]}.{kind}"


def write(path, name, kind_of):
    """Writes model `name`; kind_of(hf tensor name) chooses the type of a matrix. Returns {hf name: the float32 values
    that the file holds}, in Hugging Face's own order of rows."""
    config = tiny_models.CONFIGS[name]
    architecture = {"gemma3_text": "gemma3", "mistral": "llama"}.get(config["model_type"], config["model_type"])
    heads, kv, dim = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
    a = architecture + "."
    alphabet = tiny_models.byte_alphabet()
    metadata = {
        "general.architecture": architecture, a + "block_count": config["num_hidden_layers"],
        a + "context_length": config["max_position_embeddings"], a + "embedding_length": config["hidden_size"],
        a + "feed_forward_length": config["intermediate_size"], a + "attention.head_count": heads,
        a + "attention.head_count_kv": kv, a + "attention.key_length": dim, a + "attention.value_length": dim,
        a + "attention.layer_norm_rms_epsilon": config["rms_norm_eps"],
        a + "rope.dimension_count": dim, a + "rope.freq_base": float(config["rope_parameters"]["rope_theta"]),
        a + "vocab_size": config["vocab_size"],
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": [alphabet[b] for b in range(256)], "tokenizer.ggml.token_type": [1] * 256,
        "tokenizer.ggml.merges": ["a b"], "tokenizer.ggml.eos_token_id": 0,
    }
    metadata["tokenizer.ggml.tokens"][255] = "ab"  # so that the one merge has a result
    tensors, kept, offset, infos, blobs = tiny_models.weights(name), {}, 0, [], []
    for hf, values in tensors.items():
        kind = "F32" if values.ndim == 1 else kind_of(hf)
        stored = values
        permuted = architecture == "llama" and ("q_proj" in hf or "k_proj" in hf)
        n = heads if "q_proj" in hf else kv
        if permuted:  # [heads][2][dim / 2] -> [heads][dim / 2][2]
            stored = values.reshape(n, 2, dim // 2, -1).swapaxes(1, 2).reshape(values.shape)
        data, back = encode(stored, kind)
        if permuted:
            back = back.reshape(n, dim // 2, 2, -1).swapaxes(1, 2).reshape(values.shape)
        kept[hf] = back
        shape = values.shape[::-1]
        infos.append(_text(_gguf_name(hf, architecture)) + struct.pack("<I", len(shape)) +
                     struct.pack(f"<{len(shape)}Q", *shape) + struct.pack("<IQ", TYPES[kind], offset))
        data += bytes(-len(data) % 32)
        blobs.append(data)
        offset += len(data)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(_value(k, v) for k, v in metadata.items()) + b"".join(infos)
    with open(path, "wb") as out:
        out.write(head + bytes(-len(head) % 32) + b"".join(blobs))
    return kept
