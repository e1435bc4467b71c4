#!/usr/bin/env python3
"""Makes tests/golden/NAME.npy, logits of transformers (float32, eager) at POSITIONS for every tiny model, and
NAME.layers.npy, what every layer gives at the last position. Needs torch and transformers 5.23; the tests need neither.
Arguments: names (default: all)."""
import pathlib
import sys

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

import tiny_models as tiny


def build(name, config):
    c = AutoConfig.for_model(config["model_type"], **{k: v for k, v in config.items() if k != "model_type"})
    model = AutoModelForCausalLM.from_config(c, attn_implementation="eager", dtype=torch.float32).eval()
    if hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation("eager")
    state = {k: torch.from_numpy(v) for k, v in tiny.weights(name).items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    missing = [m for m in missing if not (m == "lm_head.weight" and config["tie_word_embeddings"])]
    missing = [m for m in missing if "embed_scale" not in m and "inv_freq" not in m]
    assert not missing and not unexpected, (name, missing, unexpected)
    model.tie_weights()
    return model


def main():
    here = pathlib.Path(__file__).resolve().parent
    for name in sys.argv[1:] or tiny.CONFIGS:
        model, layers = build(name, tiny.CONFIGS[name]), []
        for layer in model.model.layers:
            layer.register_forward_hook(
                lambda module, inputs, out: layers.append((out[0] if isinstance(out, tuple) else out)[0, -1].numpy()))
        with torch.no_grad():
            logits = model(torch.tensor([tiny.prompt(name)]), use_cache=True).logits[0].numpy()
        np.save(here / f"{name}.npy", logits[tiny.POSITIONS].astype(np.float32))
        np.save(here / f"{name}.layers.npy", np.stack(layers).astype(np.float32))
        print(name, logits.shape, float(np.sqrt((logits**2).mean())))


main()
