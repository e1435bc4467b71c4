"""Names and shapes of a checkpoint's tensors, by config, as transformers has them in memory (experts fused)."""


def layer_types(config):
    n = config["num_hidden_layers"]
    if "layer_types" in config:
        return config["layer_types"]
    return ["full_attention" if (i + 1) % 4 == 0 else "linear_attention" for i in range(n)]


def _mlp(hidden, ff):
    return {"gate_proj.weight": (ff, hidden), "up_proj.weight": (ff, hidden), "down_proj.weight": (hidden, ff)}


def _experts(config):
    e, ff, hidden = config["num_experts"], config["moe_intermediate_size"], config["hidden_size"]
    return {"experts.gate_up_proj": (e, 2 * ff, hidden), "experts.down_proj": (e, hidden, ff)}


def _attention(config, dim, kv, gated=False, biases=False):
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    rows = dict(q_proj=heads * dim * (2 if gated else 1), k_proj=kv * dim, v_proj=kv * dim)
    out = {f"{name}.weight": (n, hidden) for name, n in rows.items()}
    out["o_proj.weight"] = (hidden, heads * dim)
    if biases:
        out.update({f"{name}.bias": (n,) for name, n in rows.items()})
        out["o_proj.bias"] = (hidden,)
    return out


def _under(prefix, tensors):
    return {prefix + name: shape for name, shape in tensors.items()}


def _phi3_layer(config, layer):
    hidden, dim, ff = config["hidden_size"], config["head_dim"], config["intermediate_size"]
    heads, kv = config["num_attention_heads"], config["num_key_value_heads"]
    return {"input_layernorm.weight": (hidden,), "post_attention_layernorm.weight": (hidden,),
            "self_attn.qkv_proj.weight": ((heads + 2 * kv) * dim, hidden),
            "self_attn.o_proj.weight": (hidden, heads * dim), "mlp.gate_up_proj.weight": (2 * ff, hidden),
            "mlp.down_proj.weight": (hidden, ff)}


def _plain_layer(config, layer):
    """Llama, Mistral, Qwen2, SmolLM3, Granite, Qwen3 (MoE), Gemma 1 to 3."""
    hidden, dim, kind = config["hidden_size"], config["head_dim"], config["model_type"]
    out = {"input_layernorm.weight": (hidden,), "post_attention_layernorm.weight": (hidden,)}
    if kind in ("gemma2", "gemma3_text"):
        out["pre_feedforward_layernorm.weight"] = out["post_feedforward_layernorm.weight"] = (hidden,)
    if kind.startswith("qwen3") or kind == "gemma3_text":
        out["self_attn.q_norm.weight"] = out["self_attn.k_norm.weight"] = (dim,)
    out |= _under("self_attn.", _attention(config, dim, config["num_key_value_heads"],
                                           biases=config.get("attention_bias") or kind == "qwen2"))
    if kind == "qwen2":
        del out["self_attn.o_proj.bias"]
    sparse = (kind == "qwen3_moe" and layer not in config["mlp_only_layers"]
              and (layer + 1) % config["decoder_sparse_step"] == 0)
    if sparse:
        return out | {"mlp.gate.weight": (config["num_experts"], hidden)} | _under("mlp.", _experts(config))
    mlp = _mlp(hidden, config["intermediate_size"])
    if config.get("mlp_bias"):
        mlp |= {name.replace("weight", "bias"): shape[:1] for name, shape in mlp.items()}
    return out | _under("mlp.", mlp)


def _qwen35_ffn(config):
    hidden = config["hidden_size"]
    if "num_experts" not in config:
        return _under("mlp.", _mlp(hidden, config["intermediate_size"]))
    return ({"mlp.gate.weight": (config["num_experts"], hidden), "mlp.shared_expert_gate.weight": (1, hidden)}
            | _under("mlp.", _experts(config))
            | _under("mlp.shared_expert.", _mlp(hidden, config["shared_expert_intermediate_size"])))


def _qwen35_full(config):
    dim = config["head_dim"]
    return (_under("self_attn.", _attention(config, dim, config["num_key_value_heads"], gated=True))
            | {"self_attn.q_norm.weight": (dim,), "self_attn.k_norm.weight": (dim,)})


def _qwen35_norms(config):
    return {"input_layernorm.weight": (config["hidden_size"],),
            "post_attention_layernorm.weight": (config["hidden_size"],)}


def _qwen35_layer(config, layer):
    out = _qwen35_norms(config) | _qwen35_ffn(config)
    if layer_types(config)[layer] == "full_attention":
        return out | _qwen35_full(config)
    hidden, heads = config["hidden_size"], config["linear_num_value_heads"]
    values = heads * config["linear_value_head_dim"]
    channels = 2 * config["linear_num_key_heads"] * config["linear_key_head_dim"] + values
    return out | _under("linear_attn.", {
        "in_proj_qkv.weight": (channels, hidden), "in_proj_z.weight": (values, hidden),
        "in_proj_b.weight": (heads, hidden), "in_proj_a.weight": (heads, hidden),
        "conv1d.weight": (channels, 1, config["linear_conv_kernel_dim"]), "dt_bias": (heads,), "A_log": (heads,),
        "norm.weight": (config["linear_value_head_dim"],), "out_proj.weight": (hidden, values)})


def mtp(config):
    """The draft head of Qwen3.5, which transformers ignores."""
    hidden = config["hidden_size"]
    out = {"fc.weight": (hidden, 2 * hidden), "pre_fc_norm_embedding.weight": (hidden,),
           "pre_fc_norm_hidden.weight": (hidden,), "norm.weight": (hidden,)}
    layer = _qwen35_norms(config) | _qwen35_ffn(config) | _qwen35_full(config)
    return _under("mtp.", out | _under("layers.0.", layer))


def gemma4_layer_shape(config, layer):
    """head_dim and KV heads of a layer."""
    if layer_types(config)[layer] != "full_attention":
        return config["head_dim"], config["num_key_value_heads"]
    kv = config["num_key_value_heads"]
    if config.get("attention_k_eq_v"):
        kv = config.get("num_global_key_value_heads") or kv
    return config["global_head_dim"], kv


def _gemma4_layer(config, layer):
    hidden = config["hidden_size"]
    dim, kv = gemma4_layer_shape(config, layer)
    shared = layer >= config["num_hidden_layers"] - config.get("num_kv_shared_layers", 0)
    names = ["input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm",
             "post_feedforward_layernorm"]
    attention = _attention(config, dim, kv) | {"q_norm.weight": (dim,), "k_norm.weight": (dim,)}
    if config.get("attention_k_eq_v") and layer_types(config)[layer] == "full_attention":
        del attention["v_proj.weight"]
    if shared:
        attention = {n: s for n, s in attention.items() if n[0] not in "kv"}
    wide = 2 if shared and config.get("use_double_wide_mlp") else 1
    out = _under("self_attn.", attention) | _under("mlp.", _mlp(hidden, wide * config["intermediate_size"]))
    out["layer_scalar"] = (1,)
    if config.get("enable_moe_block"):
        e = config["num_experts"]
        names += ["post_feedforward_layernorm_1", "post_feedforward_layernorm_2", "pre_feedforward_layernorm_2"]
        out |= {"router.proj.weight": (e, hidden), "router.scale": (hidden,), "router.per_expert_scale": (e,)}
        out |= _experts(config)
    if ple := config["hidden_size_per_layer_input"]:
        names.append("post_per_layer_input_norm")
        out |= {"per_layer_input_gate.weight": (ple, hidden), "per_layer_projection.weight": (hidden, ple)}
    return out | {f"{name}.weight": (hidden,) for name in names}


def shapes(config):
    """Name -> shape of every tensor that transformers has."""
    hidden, kind, n = config["hidden_size"], config["model_type"], config["num_hidden_layers"]
    own = {"gemma4": _gemma4_layer, "qwen3_5": _qwen35_layer, "phi3": _phi3_layer}
    layer_of = next((f for prefix, f in own.items() if kind.startswith(prefix)), _plain_layer)
    out = {"model.embed_tokens.weight": (config["vocab_size"], hidden)}
    for layer in range(n):
        out |= _under(f"model.layers.{layer}.", layer_of(config, layer))
    out["model.norm.weight"] = (hidden,)
    if ple := config.get("hidden_size_per_layer_input"):
        out["model.embed_tokens_per_layer.weight"] = (config["vocab_size_per_layer_input"], n * ple)
        out["model.per_layer_model_projection.weight"] = (n * ple, hidden)
        out["model.per_layer_projection_norm.weight"] = (ple,)
    if not config["tie_word_embeddings"]:
        out["lm_head.weight"] = (config["vocab_size"], hidden)
    return out
