"""Tiny models of every family with weights from a counter-based generator: numpy makes the same checkpoint for
transformers (gen_goldens.py) and for edge-llm (tests/e2e), so only logits are committed.

Every parameter is random, norms and biases too: a default initialisation of 1 or 0 hides bugs."""
import hashlib
import json
import pathlib
import struct

import numpy as np
from tiny_configs import CONFIGS
from tiny_shapes import mtp, shapes

PROMPT_TOKENS = 150
POSITIONS = [0, 1, 2, 7, 15, 16, 17, 31, 48, 63, 64, 65, 100, 127, 128, 149]


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
    plus_one = model.startswith(("gemma1", "gemma2", "gemma3", "qwen35")) and "linear_attn.norm" not in name
    if name.endswith("norm.weight") or "layernorm" in name or ".pre_fc_norm" in name:
        u = 0.5 * u if plus_one else 1.0 + 0.5 * u
    elif name.endswith("A_log"):
        u = np.log(4.025 + 3.975 * u)
    elif name.endswith("dt_bias"):
        u = 1.7 * u
    elif name.endswith("layer_scalar"):
        u = 0.75 + 0.25 * u
    elif name.endswith("router.scale"):
        u = 1.0 + 0.5 * u
    elif name.endswith("per_expert_scale"):
        u = 1.25 + 0.75 * u
    elif name.endswith(".bias"):
        u = 0.3 * u
    elif "embed_tokens" in name:
        u = 1.7 * u
    else:
        u = u * np.sqrt(3.0 / shape[-1])
    return u.astype(np.float32)


def tensors_of(name, config, table):
    return {tensor: weight(name, tensor, shape) for tensor, shape in table(config).items()}


def weights(name):
    return tensors_of(name, CONFIGS[name], shapes)


def mtp_weights(name):
    return tensors_of(name, CONFIGS[name], mtp)


def apart(tensors):
    """The same checkpoint with one tensor for every expert's projection, as transformers saves it."""
    out = {}
    for name, value in tensors.items():
        if name.endswith("experts.gate_up_proj"):
            half = value.shape[1] // 2
            for e, w in enumerate(value):
                out[name.replace("gate_up_proj", f"{e}.gate_proj.weight")] = w[:half]
                out[name.replace("gate_up_proj", f"{e}.up_proj.weight")] = w[half:]
        elif name.endswith("experts.down_proj"):
            for e, w in enumerate(value):
                out[name.replace("down_proj", f"{e}.down_proj.weight")] = w
        else:
            out[name] = value
    return out


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
