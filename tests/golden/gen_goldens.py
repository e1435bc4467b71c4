#!/usr/bin/env python3
"""Makes tests/golden/NAME.npy: logits of transformers (float32, eager) at POSITIONS for every tiny model.
Needs torch and transformers 5.23; the tests need neither."""
import pathlib

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

import tiny_models as tiny


def main():
    here = pathlib.Path(__file__).resolve().parent
    for name, config in tiny.CONFIGS.items():
        c = AutoConfig.for_model(config["model_type"], **{k: v for k, v in config.items() if k != "model_type"})
        model = AutoModelForCausalLM.from_config(c, attn_implementation="eager", dtype=torch.float32).eval()
        state = {k: torch.from_numpy(v) for k, v in tiny.weights(name).items()}
        missing, unexpected = model.load_state_dict(state, strict=False)
        missing = [m for m in missing if not (m == "lm_head.weight" and config["tie_word_embeddings"])]
        assert not missing and not unexpected, (name, missing, unexpected)
        model.tie_weights()
        with torch.no_grad():
            logits = model(torch.tensor([tiny.prompt(name)])).logits[0].numpy()
        np.save(here / f"{name}.npy", logits[tiny.POSITIONS].astype(np.float32))
        print(name, logits.shape, float(np.sqrt((logits**2).mean())))


main()
