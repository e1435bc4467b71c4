"""Tiny models of every family with weights from a counter-based generator: numpy makes the same checkpoint for
transformers (gen_goldens.py) and for edge-llm (tests/e2e), so only logits are committed.

Every parameter is random, norms and biases too: a default initialisation of 1 or 0 hides bugs."""
import hashlib
import json
import pathlib
import struct

import numpy as np

PROMPT_TOKENS = 150
POSITIONS = [0, 1, 2, 7, 15, 16, 17, 31, 48, 63, 64, 65, 100, 127, 128, 149]

_llama = dict(vocab_size=256, hidden_size=64, intermediate_size=96, num_attention_heads=4, max_position_embeddings=512)

CONFIGS = {
    "llama3": dict(_llama, model_type="llama", num_hidden_layers=3, num_key_value_heads=2, head_dim=24,
                   rms_norm_eps=1e-5, tie_word_embeddings=True,
                   rope_parameters=dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0,
                                        high_freq_factor=4.0, original_max_position_embeddings=64)),
    "llama_bias": dict(_llama, model_type="llama", num_hidden_layers=2, num_key_value_heads=4, head_dim=16,
                       rms_norm_eps=1e-6, tie_word_embeddings=False, attention_bias=True, mlp_bias=True,
                       rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=2.0)),
    "mistral": dict(_llama, model_type="mistral", num_hidden_layers=2, num_key_value_heads=1, head_dim=32,
                    sliding_window=16, rms_norm_eps=1e-6, tie_word_embeddings=False,
                    rope_parameters=dict(rope_type="default", rope_theta=10000.0)),
    # Nothing is a multiple of 16 or of a group: odd head counts, odd widths, an odd vocabulary.
    "llama_odd": dict(model_type="llama", vocab_size=263, hidden_size=75, intermediate_size=101, num_hidden_layers=2,
                      num_attention_heads=5, num_key_value_heads=5, head_dim=18, rms_norm_eps=1e-5,
                      tie_word_embeddings=False, max_position_embeddings=512,
                      rope_parameters=dict(rope_type="default", rope_theta=10000.0)),
    "qwen3": dict(_llama, model_type="qwen3", num_hidden_layers=3, num_key_value_heads=2, head_dim=32,
                  rms_norm_eps=1e-6, tie_word_embeddings=True,
                  rope_parameters=dict(rope_type="default", rope_theta=1e6)),
    "qwen3_untied": dict(_llama, model_type="qwen3", num_hidden_layers=2, num_key_value_heads=4, head_dim=20,
                         rms_norm_eps=1e-6, tie_word_embeddings=False,
                         rope_parameters=dict(rope_type="default", rope_theta=5e6)),
    "qwen3_yarn": dict(_llama, model_type="qwen3", num_hidden_layers=2, num_key_value_heads=2, head_dim=32,
                       rms_norm_eps=1e-6, tie_word_embeddings=True,
                       rope_parameters=dict(rope_type="yarn", rope_theta=1e6, factor=4.0,
                                            original_max_position_embeddings=64)),
    "gemma3": dict(_llama, model_type="gemma3_text", num_hidden_layers=4, num_key_value_heads=2, head_dim=32,
                   layer_types=["sliding_attention", "full_attention"] * 2, sliding_window=16,
                   query_pre_attn_scalar=24, rms_norm_eps=1e-6, tie_word_embeddings=True,
                   hidden_activation="gelu_pytorch_tanh",
                   rope_parameters=dict(sliding_attention=dict(rope_type="default", rope_theta=1e4),
                                        full_attention=dict(rope_type="linear", factor=8.0, rope_theta=1e6))),
    "gemma3_odd": dict(model_type="gemma3_text", vocab_size=261, hidden_size=78, intermediate_size=90,
                       num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=3, head_dim=22,
                       layer_types=["sliding_attention", "sliding_attention", "full_attention"], sliding_window=19,
                       query_pre_attn_scalar=40, rms_norm_eps=1e-6, tie_word_embeddings=True,
                       max_position_embeddings=512, hidden_activation="gelu_pytorch_tanh",
                       rope_parameters=dict(sliding_attention=dict(rope_type="default", rope_theta=1e4),
                                            full_attention=dict(rope_type="default", rope_theta=1e6))),
}


def v4_style(config):
    """The same config as transformers 4 wrote it: rope_theta beside rope_scaling."""
    old = {k: v for k, v in config.items() if k != "rope_parameters"}
    rope = config["rope_parameters"]
    if "full_attention" in rope:
        old["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        rope = rope["full_attention"]
    old["rope_theta"] = rope["rope_theta"]
    scaling = {k: v for k, v in rope.items() if k != "rope_theta"}
    old["rope_scaling"] = None if scaling["rope_type"] == "default" else scaling
    return old


def uniform(name, count):
    """count numbers in [-1, 1): element i is the top 24 bits of splitmix64(seed(name) + i)."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    with np.errstate(over="ignore"):
        z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return ((z >> np.uint64(40)).astype(np.float64) / 2.0**23 - 1.0)


def weight(model, name, shape):
    """float32 values of one tensor, by what its name says it is."""
    u = uniform(f"{model}/{name}", int(np.prod(shape))).reshape(shape)
    if name.endswith("norm.weight") or "layernorm.weight" in name:
        u = 0.5 * u if model.startswith("gemma3") else 1.0 + 0.5 * u
    elif name.endswith(".bias"):
        u = 0.3 * u
    elif "embed_tokens" in name:
        u = 1.7 * u
    else:
        u = u * np.sqrt(3.0 / shape[-1])
    return u.astype(np.float32)


def shapes(config):
    """Name -> shape of every tensor of the checkpoint."""
    hidden, ff, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    kv, dim, kind = config["num_key_value_heads"], config["head_dim"], config["model_type"]
    out = {"model.embed_tokens.weight": (config["vocab_size"], hidden)}
    linears = dict(q_proj=(heads * dim, hidden), k_proj=(kv * dim, hidden), v_proj=(kv * dim, hidden),
                   o_proj=(hidden, heads * dim))
    mlp = dict(gate_proj=(ff, hidden), up_proj=(ff, hidden), down_proj=(hidden, ff))
    for layer in range(config["num_hidden_layers"]):
        p = f"model.layers.{layer}."
        out[p + "input_layernorm.weight"] = (hidden,)
        out[p + "post_attention_layernorm.weight"] = (hidden,)
        if kind == "gemma3_text":
            out[p + "pre_feedforward_layernorm.weight"] = (hidden,)
            out[p + "post_feedforward_layernorm.weight"] = (hidden,)
        if kind != "llama" and kind != "mistral":
            out[p + "self_attn.q_norm.weight"] = out[p + "self_attn.k_norm.weight"] = (dim,)
        for name, shape in linears.items():
            out[p + f"self_attn.{name}.weight"] = shape
            if config.get("attention_bias"):
                out[p + f"self_attn.{name}.bias"] = shape[:1]
        for name, shape in mlp.items():
            out[p + f"mlp.{name}.weight"] = shape
            if config.get("mlp_bias"):
                out[p + f"mlp.{name}.bias"] = shape[:1]
    out["model.norm.weight"] = (hidden,)
    if not config["tie_word_embeddings"]:
        out["lm_head.weight"] = (config["vocab_size"], hidden)
    return out


def weights(name):
    return {tensor: weight(name, tensor, shape) for tensor, shape in shapes(CONFIGS[name]).items()}


def prompt(name):
    u = uniform(f"{name}/prompt", PROMPT_TOKENS)
    return ((u + 1.0) / 2.0 * min(256, CONFIGS[name]["vocab_size"])).astype(np.int64).tolist()


def byte_alphabet():
    """The printable stand-ins of the 256 bytes that byte-level tokenizers use."""
    keep = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    table, extra = {}, 0
    for byte in range(256):
        table[byte] = chr(byte) if byte in keep else chr(256 + extra)
        extra += byte not in keep
    return table


def byte_tokenizer():
    """A tokenizer.json whose ids are the bytes."""
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {c: b for b, c in byte_alphabet().items()}, "merges": []},
    }


TEMPLATE = ("{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
            "{% if add_generation_prompt %}<assistant>{% endif %}")


def bf16_bits(values):
    """float32 to bfloat16 bit patterns, to nearest even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def write_safetensors(path, tensors, dtype="F32"):
    """tensors: name -> float32 array, or (dtype, shape, bytes)."""
    header, blobs, offset = {}, [], 0
    for name, value in tensors.items():
        if isinstance(value, tuple):
            kind, shape, data = value
        elif dtype == "F32":
            kind, shape, data = "F32", value.shape, np.ascontiguousarray(value, np.float32).tobytes()
        elif dtype == "F16":
            kind, shape, data = "F16", value.shape, value.astype(np.float16).tobytes()
        else:
            kind, shape, data = "BF16", value.shape, bf16_bits(value).tobytes()
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
        blobs.append(data)
    text = json.dumps(header).encode()
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)))
        out.write(text)
        for blob in blobs:
            out.write(blob)


def write_folder(folder, name, config=None, tensors=None, dtype="F32", shards=1):
    """A Hugging Face folder of one tiny model."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = dict(CONFIGS[name] if config is None else config)
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    (folder / "tokenizer.json").write_text(json.dumps(byte_tokenizer()))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 0}))
    tensors = weights(name) if tensors is None else tensors
    if shards == 1:
        write_safetensors(folder / "model.safetensors", tensors, dtype)
        return folder
    names, weight_map = list(tensors), {}
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = {n: tensors[n] for n in names[shard::shards]}
        weight_map.update({n: file for n in part})
        write_safetensors(folder / file, part, dtype)
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder
