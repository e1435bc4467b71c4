"""The MTP head of Qwen3.5 in float64, read from the specification: the only oracle there is, for transformers
ignores these tensors. Naive on purpose: no cache, no chunks, one token after the other."""
import numpy as np


def norm(x, w, eps):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * (1.0 + w)


def silu(x):
    return x / (1.0 + np.exp(-x))


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def rotate(x, position, theta, rotated):
    """The first `rotated` dimensions of every head, element i with i + rotated / 2."""
    half = rotated // 2
    angle = position * theta ** (-2.0 * np.arange(half) / rotated)
    out = x.copy()
    out[:, :half] = x[:, :half] * np.cos(angle) - x[:, half:rotated] * np.sin(angle)
    out[:, half:rotated] = x[:, half:rotated] * np.cos(angle) + x[:, :half] * np.sin(angle)
    return out


def attention(u, w, config):
    heads, kv, dim = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
    rope, eps, n = config["rope_parameters"], config["rms_norm_eps"], len(u)
    rotated = int(dim * rope["partial_rotary_factor"])
    q, gate, k, v = [], [], [], []
    for t in range(n):
        both = (w["self_attn.q_proj.weight"] @ u[t]).reshape(heads, 2 * dim)
        q.append(rotate(norm(both[:, :dim], w["self_attn.q_norm.weight"], eps), t, rope["rope_theta"], rotated))
        gate.append(both[:, dim:])
        key = norm((w["self_attn.k_proj.weight"] @ u[t]).reshape(kv, dim), w["self_attn.k_norm.weight"], eps)
        k.append(rotate(key, t, rope["rope_theta"], rotated))
        v.append((w["self_attn.v_proj.weight"] @ u[t]).reshape(kv, dim))
    out = []
    for t in range(n):
        rows = []
        for h in range(heads):
            g = h // (heads // kv)
            scores = np.array([q[t][h] @ k[j][g] for j in range(t + 1)]) / np.sqrt(dim)
            p = np.exp(scores - scores.max())
            rows.append(sum(p[j] / p.sum() * v[j][g] for j in range(t + 1)) * sigmoid(gate[t][h]))
        out.append(w["self_attn.o_proj.weight"] @ np.concatenate(rows))
    return np.array(out)


def gated_mlp(u, w, name):
    return w[f"{name}.down_proj.weight"] @ (silu(w[f"{name}.gate_proj.weight"] @ u) * (w[f"{name}.up_proj.weight"] @ u))


def feed_forward(u, w, config):
    if "num_experts" not in config:
        return gated_mlp(u, w, "mlp")
    logits = w["mlp.gate.weight"] @ u
    p = np.exp(logits - logits.max())
    chosen = np.argsort(-p, kind="stable")[:config["num_experts_per_tok"]]
    out = sigmoid(w["mlp.shared_expert_gate.weight"] @ u) * gated_mlp(u, w, "mlp.shared_expert")
    for e in chosen:
        gate, up = np.split(w["mlp.experts.gate_up_proj"][e] @ u, 2)
        out = out + p[e] / p[chosen].sum() * (w["mlp.experts.down_proj"][e] @ (silu(gate) * up))
    return out


def mtp(tokens, hidden, weights, config):
    """tokens[i] is the token after the one whose hidden row is hidden[i]; returns logits and hidden rows."""
    eps = config["rms_norm_eps"]
    table = weights["model.embed_tokens.weight"].astype(np.float64)
    head = table if config["tie_word_embeddings"] else weights["lm_head.weight"].astype(np.float64)
    w = {name[len("mtp."):]: value.astype(np.float64) for name, value in weights.items() if name.startswith("mtp.")}
    layer = {name[len("layers.0."):]: value for name, value in w.items() if name.startswith("layers.0.")}
    e = norm(table[tokens], w["pre_fc_norm_embedding.weight"], eps)
    h = norm(hidden.astype(np.float64), w["pre_fc_norm_hidden.weight"], eps)
    x = np.concatenate([e, h], axis=1) @ w["fc.weight"].T
    x = x + attention(norm(x, layer["input_layernorm.weight"], eps), layer, config)
    u = norm(x, layer["post_attention_layernorm.weight"], eps)
    x = x + np.array([feed_forward(row, layer, config) for row in u])
    out = norm(x, w["norm.weight"], eps)
    return out @ head.T, out
