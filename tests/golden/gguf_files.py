"""GGUF files of tiny models, as llama.cpp's converter writes them: names, metadata, permuted q and k, tiled
value heads of a delta net, and blocks of Q4_0, Q4_1, Q8_0 and IQ4_NL."""
import math
import struct

import numpy as np

import tiny_models
from tiny_shapes import gemma4_layer_shape, layer_types

TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 8, "IQ4_NL": 20, "BF16": 30}
IQ4_VALUES = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float32)
_U32, _F32, _STRING, _ARRAY, _I32, _BOOL = 4, 6, 8, 9, 5, 7
ARCHITECTURES = {"gemma3_text": "gemma3", "mistral": "llama", "qwen3_moe": "qwen3moe", "qwen3_5_text": "qwen35",
                 "qwen3_5_moe_text": "qwen35moe", "gemma4_text": "gemma4", "gemma4_unified_text": "gemma4"}
NAMES = {
    "self_attn.qkv_proj.": "attn_qkv.", "mlp.gate_up_proj.": "ffn_up.",
    "input_layernorm.": "attn_norm.", "self_attn.q_proj.": "attn_q.", "self_attn.k_proj.": "attn_k.",
    "self_attn.v_proj.": "attn_v.", "self_attn.o_proj.": "attn_output.", "self_attn.q_norm.": "attn_q_norm.",
    "self_attn.k_norm.": "attn_k_norm.", "mlp.gate_proj.": "ffn_gate.", "mlp.up_proj.": "ffn_up.",
    "mlp.down_proj.": "ffn_down.", "post_attention_layernorm.": "ffn_norm.",
    "mlp.gate.": "ffn_gate_inp.", "mlp.experts.gate_up_proj": "ffn_gate_up_exps.weight",
    "mlp.experts.down_proj": "ffn_down_exps.weight", "mlp.shared_expert_gate.": "ffn_gate_inp_shexp.",
    "mlp.shared_expert.gate_proj.": "ffn_gate_shexp.", "mlp.shared_expert.up_proj.": "ffn_up_shexp.",
    "mlp.shared_expert.down_proj.": "ffn_down_shexp.",
    "linear_attn.in_proj_qkv.": "attn_qkv.", "linear_attn.in_proj_z.": "attn_gate.",
    "linear_attn.in_proj_a.": "ssm_alpha.", "linear_attn.in_proj_b.": "ssm_beta.",
    "linear_attn.conv1d.": "ssm_conv1d.", "linear_attn.dt_bias": "ssm_dt.bias", "linear_attn.A_log": "ssm_a",
    "linear_attn.norm.": "ssm_norm.", "linear_attn.out_proj.": "ssm_out.",
    "post_feedforward_layernorm_1.": "post_ffw_norm_1.", "post_feedforward_layernorm_2.": "post_ffw_norm_2.",
    "pre_feedforward_layernorm_2.": "pre_ffw_norm_2.", "pre_feedforward_layernorm.": "ffn_norm.",
    "post_feedforward_layernorm.": "post_ffw_norm.", "router.proj.": "ffn_gate_inp.",
    "router.scale": "ffn_gate_inp.scale", "router.per_expert_scale": "ffn_down_exps.scale",
    "experts.gate_up_proj": "ffn_gate_up_exps.weight", "experts.down_proj": "ffn_down_exps.weight",
    "layer_scalar": "layer_output_scale.weight", "per_layer_input_gate.": "inp_gate.",
    "per_layer_projection.": "proj.", "post_per_layer_input_norm.": "post_norm.",
}
MODEL_NAMES = {"model.embed_tokens.": "token_embd.", "model.norm.": "output_norm.", "lm_head.": "output.",
               "model.embed_tokens_per_layer.": "per_layer_token_embd.",
               "model.per_layer_model_projection.": "per_layer_model_proj.",
               "model.per_layer_projection_norm.": "per_layer_proj_norm."}
DRAFT_NAMES = {"mtp.fc.": "nextn.eh_proj.", "mtp.pre_fc_norm_embedding.": "nextn.enorm.",
               "mtp.pre_fc_norm_hidden.": "nextn.hnorm.", "mtp.norm.": "nextn.shared_head_norm."}


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
    if kind == "IQ4_NL":
        d = (np.abs(blocks).max(axis=1) / 127).astype(np.float16)
        distances = np.abs(blocks[:, :, None] - d.astype(np.float32)[:, None, None] * IQ4_VALUES)
        u = distances.argmin(axis=2).astype(np.uint8)
        values = d.astype(np.float32)[:, None] * IQ4_VALUES[u]
        heads = [s.tobytes() for s in d]
    elif kind == "Q4_0":
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
    if isinstance(value[0], bool):
        return _text(key) + struct.pack("<IIQ", _ARRAY, _BOOL, len(value)) + bytes(value)
    kind = {str: _STRING, int: _I32, float: _F32}[type(value[0])]
    items = b"".join(_text(v) if kind == _STRING else struct.pack("<i" if kind == _I32 else "<f", v) for v in value)
    return _text(key) + struct.pack("<IIQ", _ARRAY, kind, len(value)) + items


def _renamed(name, names):
    return next((gguf + name[len(hf):] for hf, gguf in names.items() if name.startswith(hf)), None)


def gguf_name(name, architecture, n_layers):
    if name.startswith("mtp.layers."):
        name = name.replace("mtp.layers.0", f"model.layers.{n_layers}")
    if name.startswith("mtp."):
        return f"blk.{n_layers}." + _renamed(name, DRAFT_NAMES)
    if not name.startswith("model.layers."):
        return _renamed(name, MODEL_NAMES)
    _, _, layer, rest = name.split(".", 3)
    own = {"post_attention_layernorm.": "post_attention_norm."} if architecture[:6] in (
        "gemma2", "gemma3", "gemma4", "qwen35") else {}
    return f"blk.{layer}." + _renamed(rest, NAMES | own)


def _tiled(values, axis, first, key_heads, size, back):
    """Value heads from grouped by key head to tiled, behind `first`, or back."""
    x = np.moveaxis(values, axis, 0)
    head, tail = x[:first], x[first:]
    per_key = len(tail) // size // key_heads
    shape = (per_key, key_heads) if back else (key_heads, per_key)
    tail = tail.reshape(*shape, size, *tail.shape[1:]).swapaxes(0, 1).reshape(tail.shape)
    return np.moveaxis(np.concatenate([head, tail]), 0, axis)


def changed(name, values, config, back=False):
    """A tensor as the converter stores it; `back` undoes that, but for the sizes of dimensions."""
    kind, inner = config["model_type"], name.rsplit("self_attn.", 1)[-1]
    if kind in ("llama", "mistral", "granite", "smollm3") and inner.startswith(("q_proj", "k_proj")):
        n = config["num_attention_heads" if inner[0] == "q" else "num_key_value_heads"]
        halves = (n, -1, 2) if back else (n, 2, values.shape[0] // n // 2)  # rows for rotating pairs
        return values.reshape(*halves, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)
    plus_one = kind.startswith(("gemma3", "qwen3_5")) or kind in ("gemma", "gemma2")
    plus_one = plus_one and "norm" in name and "linear_attn.norm" not in name
    if plus_one and not back:
        return values + np.float32(1)
    if plus_one:
        return values - np.float32(1)
    if "linear_attn." not in name or "linear_attn.norm" in name:
        return values
    keys, dim = config["linear_num_key_heads"], config["linear_value_head_dim"]
    if name.endswith("conv1d.weight") and not back:
        values = values[:, 0]
    single = name.endswith(("A_log", "dt_bias", "in_proj_a.weight", "in_proj_b.weight"))
    first = 2 * keys * config["linear_key_head_dim"] if "qkv" in name or "conv1d" in name else 0
    if name.endswith("A_log"):
        values = np.log(-values) if back else -np.exp(values)
    return _tiled(values, 1 if "out_proj" in name else 0, first, keys, 1 if single else dim, back)


def _rope_metadata(config, a):
    rope = config["rope_parameters"]
    full = rope.get("full_attention", rope)
    out = {a + "rope.freq_base": float(full["rope_theta"])}
    if "sliding_attention" in rope:
        out[a + "rope.freq_base_swa"] = float(rope["sliding_attention"]["rope_theta"])
    if "partial_rotary_factor" in rope and config["model_type"] == "phi3":
        out[a + "rope.dimension_count"] = int(config["head_dim"] * rope["partial_rotary_factor"])
    if full["rope_type"] == "longrope":
        original = full["original_max_position_embeddings"]
        scale = config["max_position_embeddings"] / original
        out |= {a + "rope.scaling.original_context_length": original,
                a + "rope.scaling.attn_factor": math.sqrt(1 + math.log(scale) / math.log(original))}
    if full["rope_type"] == "linear":
        out |= {a + "rope.scaling.type": "linear", a + "rope.scaling.factor": float(full["factor"])}
    return out


def _gemma4_metadata(config, a):
    n, types = config["num_hidden_layers"], layer_types(config)
    shared, wide = config.get("num_kv_shared_layers", 0), config.get("use_double_wide_mlp")
    out = {a + "attention.key_length": config["global_head_dim"],
           a + "attention.value_length": config["global_head_dim"],
           a + "attention.key_length_swa": config["head_dim"], a + "attention.value_length_swa": config["head_dim"],
           a + "rope.dimension_count": config["global_head_dim"], a + "rope.dimension_count_swa": config["head_dim"],
           a + "attention.shared_kv_layers": shared,
           a + "embedding_length_per_layer_input": config["hidden_size_per_layer_input"],
           a + "attention.sliding_window_pattern": [t == "sliding_attention" for t in types],
           a + "attention.head_count_kv": [gemma4_layer_shape(config, i)[1] for i in range(n)]}
    if wide:
        ff = config["intermediate_size"]
        out[a + "feed_forward_length"] = [ff if i < n - shared else 2 * ff for i in range(n)]
    if config.get("final_logit_softcapping"):
        out[a + "final_logit_softcapping"] = config["final_logit_softcapping"]
    return out


def _qwen35_metadata(config, a):
    return {a + "ssm.conv_kernel": config["linear_conv_kernel_dim"],
            a + "ssm.state_size": config["linear_key_head_dim"], a + "ssm.group_count": config["linear_num_key_heads"],
            a + "ssm.time_step_rank": config["linear_num_value_heads"],
            a + "ssm.inner_size": config["linear_value_head_dim"] * config["linear_num_value_heads"],
            a + "attention.recurrent_layers": [t != "full_attention" for t in layer_types(config)],
            a + "rope.dimension_count": int(config["head_dim"] * config["rope_parameters"]["partial_rotary_factor"])}


def _metadata(config, architecture):
    a, dim = architecture + ".", config["head_dim"]
    out = {
        "general.architecture": architecture, a + "block_count": config["num_hidden_layers"],
        a + "context_length": config["max_position_embeddings"], a + "embedding_length": config["hidden_size"],
        a + "attention.head_count": config["num_attention_heads"],
        a + "attention.head_count_kv": config["num_key_value_heads"], a + "attention.key_length": dim,
        a + "attention.value_length": dim, a + "attention.layer_norm_rms_epsilon": config["rms_norm_eps"],
        a + "rope.dimension_count": dim, a + "vocab_size": config["vocab_size"],
    } | _rope_metadata(config, a)
    names = {"intermediate_size": "feed_forward_length", "num_experts": "expert_count",
             "num_experts_per_tok": "expert_used_count", "top_k_experts": "expert_used_count",
             "moe_intermediate_size": "expert_feed_forward_length",
             "shared_expert_intermediate_size": "expert_shared_feed_forward_length",
             "attention_multiplier": "attention.scale", "embedding_multiplier": "embedding_scale",
             "residual_multiplier": "residual_scale", "logits_scaling": "logit_scale"}
    out |= {a + gguf: config[hf] for hf, gguf in names.items() if hf in config}
    if "sliding_window" in config and architecture.startswith(("gemma", "phi3")):
        out[a + "attention.sliding_window"] = config["sliding_window"]
    if "query_pre_attn_scalar" in config:
        out[a + "attention.scale"] = config["query_pre_attn_scalar"] ** -0.5
    if architecture == "gemma2":
        out |= {a + key: config[key] for key in ("attn_logit_softcapping", "final_logit_softcapping")}
    if architecture == "gemma3":
        out[a + "attention.sliding_window_pattern"] = [t == "sliding_attention" for t in config["layer_types"]]
    if architecture == "gemma4":
        out |= _gemma4_metadata(config, a)
    return out | _qwen35_metadata(config, a) if architecture.startswith("qwen35") else out


def _tokenizer(vocab_size):
    alphabet = tiny_models.byte_alphabet()
    tokens = [alphabet[b] if b < 256 else f"<extra{b}>" for b in range(vocab_size)]
    tokens[255] = "ab"  # so that the one merge has a result
    return {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm", "tokenizer.ggml.tokens": tokens,
            "tokenizer.ggml.token_type": [1] * 256 + [4] * (vocab_size - 256), "tokenizer.ggml.merges": ["a b"],
            "tokenizer.ggml.eos_token_id": 0}


def write(path, name, kind_of, draft=False, split_experts=False, extra=None, files=1,
          fused=False):
    """Writes model `name`; kind_of(hf tensor name) chooses the type of a matrix. Returns {hf name: the float32 values
    that the file holds}, in Hugging Face's own order. `draft` adds the MTP head, `extra` metadata; more
    than one of `files` are PATH-00001-of-0000N.gguf; `fused` puts q, k and v in one tensor."""
    config = tiny_models.CONFIGS[name]
    architecture = ARCHITECTURES.get(config["model_type"], config["model_type"])
    n_layers = config["num_hidden_layers"]
    metadata = _metadata(config, architecture) | _tokenizer(config["vocab_size"]) | (extra or {})
    tensors, kept, stored = tiny_models.weights(name), {}, {}
    if draft:
        tensors |= tiny_models.mtp_weights(name)
        metadata |= {architecture + ".block_count": n_layers + 1, architecture + ".nextn_predict_layers": 1}
    for hf, values in tensors.items():
        after = changed(hf, values, config)
        kind = "F32" if after.ndim == 1 or "conv1d" in hf else kind_of(hf)
        data, back = encode(after, kind)
        kept[hf] = changed(hf, back, config, back=True).reshape(values.shape)
        gguf = gguf_name(hf, architecture, n_layers)
        if "gate_up_exps" in gguf and split_experts:
            half = after.shape[1] // 2
            for part, x in (("gate", after[:, :half]), ("up", after[:, half:])):
                stored[gguf.replace("gate_up", part)] = (x.shape, kind, encode(x, kind)[0])
        else:
            stored[gguf] = (after.shape, kind, data)
    if fused:
        fuse_qkv(stored)
    for length in ("short", "long") if architecture == "phi3" else ():
        factors = np.array(config["rope_parameters"][length + "_factor"], np.float32)
        stored[f"rope_factors_{length}.weight"] = (factors.shape, "F32", factors.tobytes())
    if architecture == "gemma4":
        half = config["global_head_dim"] // 2
        share = config["rope_parameters"]["full_attention"]["partial_rotary_factor"]
        factors = np.array([1.0] * int(share * half) + [1e30] * (half - int(share * half)), np.float32)
        stored["rope_freqs.weight"] = (factors.shape, "F32", factors.tobytes())
    if files == 1:
        write_file(path, metadata, stored)
    for i in range(files if files > 1 else 0):  # the first may hold no tensors
        part = dict(list(stored.items())[i - 1::files - 1]) if i else {}
        said = {"split.no": i, "split.count": files, "split.tensors.count": len(stored)}
        write_file(f"{path}-{i + 1:05d}-of-{files:05d}.gguf", said | ({} if i else metadata), part)
    return kept


def fuse_qkv(stored):
    for name in [name for name in stored if ".attn_q." in name and name.replace("attn_q.", "attn_v.") in stored]:
        parts = [stored.pop(name.replace("attn_q.", f"attn_{letter}.")) for letter in "qkv"]
        rows = sum(shape[0] for shape, _, _ in parts)
        stored[name.replace("attn_q.", "attn_qkv.")] = ((rows, *parts[0][0][1:]), parts[0][1],
                                                        b"".join(data for _, _, data in parts))


def write_file(path, metadata, tensors):
    """tensors: name -> (shape, type, bytes)."""
    infos, blobs, offset = [], [], 0
    for name, (shape, kind, data) in tensors.items():
        infos.append(_text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape[::-1]) +
                     struct.pack("<IQ", TYPES[kind], offset))
        data += bytes(-len(data) % 32)
        blobs.append(data)
        offset += len(data)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(_value(k, v) for k, v in metadata.items()) + b"".join(infos)
    with open(path, "wb") as out:
        out.write(head + bytes(-len(head) % 32) + b"".join(blobs))
