"""What config.json says in unusual places, twice, or not at all: it means what it means to transformers (5.23, with
which every case was compared), or it is refused."""
import json
import re

import numpy as np
import pytest
from conftest import ROOT, logits, relative_rms, run, tiny_models


def with_config(name, change):
    config = json.loads(json.dumps(tiny_models.CONFIGS[name]))
    change(config)
    return config


def converted(tmp_path, name, config, tensors=None, check=0):
    folder = tiny_models.write_folder(tmp_path / "hf", name, config, tensors)
    return run("convert", folder, "-o", tmp_path / "m.elm", "--quant", "f32", check=check)


def check_golden(tmp_path, name, config, tensors=None):
    """Converts; the logits are those of the golden model. Returns what convert said."""
    said = converted(tmp_path, name, config, tensors).message
    found = logits(tmp_path / "m.elm", tiny_models.prompt(name), tmp_path)
    golden = np.load(ROOT / "tests" / "golden" / f"{name}.npy")
    assert relative_rms(found[tiny_models.POSITIONS], golden) < 1e-4
    return said


def numbers(tmp_path, pattern):
    """What `pattern` finds in the converted graph."""
    graph = run("inspect", tmp_path / "m.elm", "--graph").text
    return [float(x) for x in re.findall(pattern, graph)]


# ---- rope ----

def rope(config, **values):
    config["rope_parameters"].update(values)


def theta_beside_parameters(c):
    c["rope_theta"] = c["rope_parameters"].pop("rope_theta")


def older_key_beside_newer(c):
    """A config that transformers 5 saved, to which someone added rope_scaling."""
    c["rope_scaling"] = dict(c["rope_parameters"], type="yarn")
    c["rope_parameters"] = {"rope_type": "default", "rope_theta": 77.0}


def original_beside_parameters(c):
    c["original_max_position_embeddings"] = c["rope_parameters"].pop("original_max_position_embeddings")


def original_in_both(c):
    original_beside_parameters(c)
    rope(c, original_max_position_embeddings=7)


@pytest.mark.parametrize("name", ["qwen3_yarn", "llama3"])
@pytest.mark.parametrize("change", [theta_beside_parameters, original_beside_parameters, original_in_both])
def test_rope_numbers_beside_the_parameters(tmp_path, name, change):
    check_golden(tmp_path, name, with_config(name, change))


def test_rope_scaling_wins_over_rope_parameters(tmp_path):
    check_golden(tmp_path, "qwen3_yarn", with_config("qwen3_yarn", older_key_beside_newer))
    config = with_config("qwen3", lambda c: c.update(rope_scaling={}))
    check_golden(tmp_path, "qwen3", config)


def test_rope_scaling_that_loses_the_theta_is_refused(tmp_path):
    config = with_config("qwen3", lambda c: c.update(rope_scaling={"rope_type": "linear", "factor": 2.0}))
    assert "rope_theta" in converted(tmp_path, "qwen3", config, check=4).message


def test_rope_scaling_of_gemma3_leaves_the_theta(tmp_path):
    def move(c):
        full = c["rope_parameters"]["full_attention"]
        c["rope_scaling"] = {"rope_type": full.pop("rope_type"), "factor": full.pop("factor")}
    check_golden(tmp_path, "gemma3", with_config("gemma3", move))


def test_dynamic_changes_nothing_inside_the_context(tmp_path):
    check_golden(tmp_path, "qwen3", with_config("qwen3", lambda c: rope(c, rope_type="dynamic", factor=4.0)))


def test_a_factor_of_longrope_wins_over_the_ratio_of_the_contexts(tmp_path):
    converted(tmp_path, "phi3", with_config("phi3", lambda c: rope(c, factor=16.0)))
    scale = numbers(tmp_path, r" = rope\(.*scale=([0-9.]+)")
    assert scale and np.allclose(scale, (1 + np.log(16) / np.log(256))**0.5)


# ---- windows ----

def test_qwen2_without_layer_types_slides_from_max_window_layers_on(tmp_path):
    check_golden(tmp_path, "qwen2", with_config("qwen2", lambda c: c.pop("layer_types")))


@pytest.mark.parametrize("name,change,expected", [
    ("qwen2", {"layer_types": None, "max_window_layers": 28}, [0, 0, 0]),
    ("qwen2", {"layer_types": None, "max_window_layers": None}, [0, 0, 0]),
    ("qwen2", {"layer_types": None, "use_sliding_window": False}, [0, 0, 0]),
    ("qwen3", {"use_sliding_window": True, "sliding_window": 16}, [0, 0, 0]),
    ("qwen3", {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 2}, [0, 0, 16]),
    ("qwen3", {"use_sliding_window": True, "max_window_layers": 0}, [4096] * 3),
    ("qwen3_moe", {"use_sliding_window": True, "sliding_window": 16}, [16] * 4),
    ("qwen3_moe", {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 2}, [16] * 4),
    ("qwen3_moe", {"use_sliding_window": False, "sliding_window": 16}, [0] * 4),
    ("mistral", {"sliding_window": None}, [0, 0]),
    ("llama3", {"sliding_window": 16, "use_sliding_window": True}, [0, 0, 0])])
def test_which_layers_slide(tmp_path, name, change, expected):
    converted(tmp_path, name, with_config(name, lambda c: c.update(change)))
    assert numbers(tmp_path, r" = attention\(.*window=(\d+)") == expected


def test_mistral_slides_where_its_config_is_silent(tmp_path):
    converted(tmp_path, "mistral", with_config("mistral", lambda c: c.pop("sliding_window")))
    assert numbers(tmp_path, r" = attention\(.*window=(\d+)") == [4096, 4096]


# ---- what makes no text ----

@pytest.mark.parametrize("name,change", [
    ("gemma3", {"use_bidirectional_attention": True}), ("gemma2", {"use_bidirectional_attention": True}),
    ("gemma1", {"use_bidirectional_attention": True}), ("qwen3", {"is_causal": False})])
def test_attention_without_a_mask_is_refused(tmp_path, name, change):
    said = converted(tmp_path, name, with_config(name, lambda c: c.update(change)), check=5).message
    assert "bidirectional" in said and "embeddings" in said


# ---- a head of its own ----

def test_a_tied_config_with_a_head_of_its_own(tmp_path):
    """The same numbers are stored once; others are used, and convert says so."""
    tensors = tiny_models.weights("qwen3")
    embedding = tensors["model.embed_tokens.weight"]
    said = check_golden(tmp_path, "qwen3", None, tensors | {"lm_head.weight": embedding})
    assert "lm_head" not in said and "lm_head.weight" not in run("inspect", tmp_path / "m.elm", "--tensors").text
    said = converted(tmp_path, "qwen3", None, tensors | {"lm_head.weight": 2 * embedding}).message
    assert "lm_head.weight holds other numbers" in said
    found = logits(tmp_path / "m.elm", tiny_models.prompt("qwen3"), tmp_path)
    golden = np.load(ROOT / "tests" / "golden" / "qwen3.npy")
    assert relative_rms(found[tiny_models.POSITIONS], 2 * golden) < 1e-4


def test_a_head_that_is_missing(tmp_path):
    """Said to be there, it is no embedding in disguise; where nobody says anything, it is."""
    tensors = {n: t for n, t in tiny_models.weights("llama_odd").items() if n != "lm_head.weight"}
    assert "'lm_head.weight' is missing" in converted(tmp_path, "llama_odd", None, tensors, check=4).message
    config = with_config("llama_odd", lambda c: c.pop("tie_word_embeddings"))
    converted(tmp_path, "llama_odd", config, tensors)
    assert "lm_head.weight" not in run("inspect", tmp_path / "m.elm", "--tensors").text


def test_a_model_that_was_saved_without_its_head(tmp_path):
    """AutoModel.save_pretrained: no "model." in front of the names."""
    tensors = {n.removeprefix("model."): t for n, t in tiny_models.weights("qwen3").items()}
    check_golden(tmp_path, "qwen3", None, tensors)
    untied = {n.removeprefix("model."): t for n, t in tiny_models.weights("mistral").items() if "lm_head" not in n}
    assert "'lm_head.weight' is missing" in converted(tmp_path, "mistral", None, untied, check=4).message


# ---- checkpoints with images ----

PATCHES = np.zeros((8, 3, 2, 4, 4), np.float32)  # every Qwen vision part begins with a three-dimensional convolution


@pytest.mark.parametrize("kind", ["qwen2_vl", "qwen2_5_vl"])
def test_vision_language_configs_as_they_are_on_the_hub(tmp_path, kind):
    """The text model's keys lie beside vision_config, not in a text_config."""
    config = dict(tiny_models.CONFIGS["qwen2"], model_type=kind, vision_config={"model_type": kind, "hidden_size": 8},
                  rope_theta=1e6, rope_scaling={"type": "mrope", "mrope_section": [2, 2, 3]})
    del config["rope_parameters"]
    tensors = tiny_models.weights("qwen2") | {"visual.patch_embed.proj.weight": PATCHES}
    assert "left out: 1 tensor" in check_golden(tmp_path, "qwen2", config, tensors)


def test_qwen35_with_its_vision_part(tmp_path):
    text = dict(tiny_models.CONFIGS["qwen35"])
    config = {"model_type": "qwen3_5", "text_config": text, "vision_config": {}, "tie_word_embeddings": True}
    tensors = {n.replace("model.", "model.language_model.", 1): t for n, t in tiny_models.weights("qwen35").items()}
    tensors["model.visual.patch_embed.proj.weight"] = PATCHES
    assert "left out: 1 tensor" in check_golden(tmp_path, "qwen35", config, tensors)


def test_smolvlm_gives_its_text_model(tmp_path):
    config = {"model_type": "smolvlm", "text_config": tiny_models.CONFIGS["llama3"], "vision_config": {}}
    tensors = {n.replace("model.", "model.text_model.", 1): t for n, t in tiny_models.weights("llama3").items()}
    tensors["model.vision_model.x"] = tensors["model.connector.y"] = np.zeros(7, np.float32)
    assert "left out: 2 tensors" in check_golden(tmp_path, "llama3", config, tensors)


def test_gemma3_leaves_out_what_has_the_value_of_the_class(tmp_path):
    """As the released 4B: no head counts, no head_dim (and no vocabulary: 262208 rows, not tried here)."""
    whole = dict(tiny_models.CONFIGS["gemma3"], num_attention_heads=8, num_key_value_heads=4, head_dim=256,
                 num_hidden_layers=2, query_pre_attn_scalar=256)
    whole.pop("layer_types")
    tensors = tiny_models.tensors_of("gemma3", dict(whole, layer_types=["sliding_attention"] * 2), tiny_models.shapes)
    converted(tmp_path, "gemma3", whole, tensors)
    expected = logits(tmp_path / "m.elm", tiny_models.prompt("gemma3"), tmp_path)
    silent = {k: v for k, v in whole.items() if k in (
        "model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "sliding_window", "vocab_size",
        "rope_parameters")}
    converted(tmp_path, "gemma3", {"model_type": "gemma3", "text_config": silent}, tensors)
    assert np.array_equal(logits(tmp_path / "m.elm", tiny_models.prompt("gemma3"), tmp_path), expected)
    del silent["vocab_size"]
    said = converted(tmp_path, "gemma3", {"model_type": "gemma3", "text_config": silent}, tensors, check=4).message
    assert "[262208, 64]" in said
