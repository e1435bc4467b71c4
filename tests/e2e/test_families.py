"""What is special about Qwen3-MoE, Qwen3.5 and Gemma 4: ways to store them, recurrent state, draft head, refusals."""
import json

import numpy as np
import pytest
from conftest import ROOT, logits, relative_rms, run, tiny_models
from graph_tool import pages, rows
from numpy_mtp import mtp

HYBRIDS = ["qwen35", "qwen35_odd", "qwen35_moe"]


def golden(name):
    return np.load(ROOT / "tests" / "golden" / f"{name}.npy")


def check(folder, tmp_path, name, *options):
    """Converts and compares with transformers; returns what convert said."""
    said = run("convert", folder, "-o", tmp_path / "m.elm", "--quant", "f32", *options)
    found = logits(tmp_path / "m.elm", tiny_models.prompt(name), tmp_path)
    bar = 3e-4 if tiny_models.CONFIGS[name].get("hidden_size_per_layer_input") else 1e-4
    assert relative_rms(found[tiny_models.POSITIONS], golden(name)) < bar
    return said.message + said.text


def refusal(folder, tmp_path):
    return run("convert", folder, "-o", tmp_path / "m.elm", check=None)


# ---- ways to store a model ----

@pytest.mark.parametrize("name", ["qwen3_moe", "qwen35_moe"])
def test_experts_in_tensors_of_their_own(tmp_path, name):
    tensors = tiny_models.apart(tiny_models.weights(name))
    check(tiny_models.write_folder(tmp_path / "hf", name, tensors=tensors), tmp_path, name)


def test_num_local_experts_is_the_same_as_num_experts(tmp_path):
    config = dict(tiny_models.CONFIGS["qwen3_moe"])
    config["num_local_experts"] = config.pop("num_experts")
    check(tiny_models.write_folder(tmp_path / "hf", "qwen3_moe", config), tmp_path, "qwen3_moe")


@pytest.mark.parametrize("name", ["gemma4_e2b", "gemma4_31b", "gemma4_odd"])
def test_per_layer_config_is_the_same_as_the_global_keys(tmp_path, name):
    config = dict(tiny_models.CONFIGS[name])
    entry = {"head_dim": config.pop("global_head_dim")}
    heads = config.pop("num_global_key_value_heads", None)
    if config["attention_k_eq_v"]:
        entry["num_key_value_heads"] = heads
    full = [i for i, kind in enumerate(config["layer_types"]) if kind == "full_attention"]
    config["per_layer_config"] = {str(i): entry for i in full}
    check(tiny_models.write_folder(tmp_path / "hf", name, config), tmp_path, name)


def test_unused_keys_and_values_of_sharing_layers_change_nothing(tmp_path):
    tensors = tiny_models.weights("gemma4_e2b")
    for layer in range(4, 8):
        dim = 32 if layer == 7 else 16
        for rest, shape in (("k_proj", (dim, 64)), ("v_proj", (dim, 64)), ("k_norm", (dim,))):
            tensors[f"model.layers.{layer}.self_attn.{rest}.weight"] = np.full(shape, 9, np.float32)
    check(tiny_models.write_folder(tmp_path / "hf", "gemma4_e2b", tensors=tensors), tmp_path, "gemma4_e2b")


@pytest.mark.parametrize("name,root,visual", [
    ("qwen35", dict(architectures=["Qwen3_5ForConditionalGeneration"], model_type="qwen3_5", vision_config={}),
     "model.visual.blocks.0.norm1.weight"),
    ("qwen35_moe", dict(architectures=["Qwen3_5MoeForConditionalGeneration"], model_type="qwen3_5_moe"),
     "model.visual.merger.norm.weight"),
    ("gemma4_e2b", dict(architectures=["Gemma4ForConditionalGeneration"], model_type="gemma4", audio_config={}),
     "model.audio_tower.output_proj.bias")])
def test_multimodal_checkpoints_give_their_text_model(tmp_path, name, root, visual):
    tensors = {"model.language_model." + n[len("model."):] if n.startswith("model.") else n: t
               for n, t in tiny_models.weights(name).items()}
    tensors[visual] = tensors["model.vision_tower.x.weight"] = np.zeros(7, np.float32)
    tensors["model.language_model.embed_tokens.weight"] = tiny_models.weights(name)["model.embed_tokens.weight"]
    text = dict(tiny_models.CONFIGS[name])
    tied = text.pop("tie_word_embeddings")
    config = dict(root, text_config=text, tie_word_embeddings=tied)
    if tied:
        tensors["lm_head.weight"] = tiny_models.weights(name)["model.embed_tokens.weight"]  # a copy
    said = check(tiny_models.write_folder(tmp_path / "hf", name, config, tensors), tmp_path, name)
    assert "left out: 2 tensors" in said


@pytest.mark.parametrize("name,kind,text_kind", [("qwen2", "qwen2_5_omni", "qwen2_5_omni_text"),
                                                 ("qwen3_moe", "qwen3_omni_moe", "qwen3_omni_moe_text")])
def test_the_thinker_of_an_omni_checkpoint_is_its_text_model(tmp_path, name, kind, text_kind):
    """Everything lies below "thinker.", beside a talker and a vocoder."""
    tensors = {"thinker." + n: t for n, t in tiny_models.weights(name).items()}
    others = ["thinker.visual.x", "thinker.audio_tower.y", "talker.model.norm.weight", "token2wav.z", "code2wav.z"]
    tensors |= {n: np.zeros(7, np.float32) for n in others}
    text = dict(tiny_models.CONFIGS[name], model_type=text_kind)
    text["rope_scaling"] = {"type": "mrope", "rope_type": "default", "mrope_section": [2, 1, 1]}
    text["rope_theta"] = text.pop("rope_parameters")["rope_theta"]
    config = {"model_type": kind, "thinker_config": {"model_type": kind + "_thinker", "text_config": text},
              "talker_config": {"text_config": {"model_type": "x"}}}
    said = check(tiny_models.write_folder(tmp_path / "hf", name, config, tensors), tmp_path, name)
    assert "left out: 5 tensors" in said


def test_a_vision_language_model_of_qwen3_gives_its_text_model(tmp_path):
    tensors = {n.replace("model.", "model.language_model.", 1): t for n, t in tiny_models.weights("qwen3").items()}
    tensors["model.visual.deepstack_merger_list.0.norm.bias"] = np.zeros(7, np.float32)
    text = dict(tiny_models.CONFIGS["qwen3"], model_type="qwen3_vl_text")
    text["rope_parameters"] = text["rope_parameters"] | {"mrope_section": [6, 5, 5], "mrope_interleaved": True}
    config = {"model_type": "qwen3_vl", "text_config": text}
    folder = tiny_models.write_folder(tmp_path / "hf", "qwen3", config, tensors)
    assert "left out: 1 tensor" in check(folder, tmp_path, "qwen3")


# ---- recurrent state ----

@pytest.mark.parametrize("name", HYBRIDS)
def test_recurrent_state_is_the_same_however_the_prompt_is_cut(tiny, tmp_path, name):
    model, ids = tiny(name, "--quant", "f32"), tiny_models.prompt(name)
    first = logits(model, ids, tmp_path, "--chunk", "1")
    for chunk, threads in [(64, 1), (37, 2), (49, 3), (150, 2)]:
        found = logits(model, ids, tmp_path, "--chunk", chunk, "--threads", threads)
        assert relative_rms(found, first) < 1e-5, (chunk, threads)
    assert np.array_equal(first, logits(model, ids, tmp_path, "--chunk", "1", "--threads", "3"))


@pytest.mark.parametrize("backend", ["ref!", "cpu!"])
@pytest.mark.parametrize("name", HYBRIDS)
def test_held_tokens_leave_no_trace_but_those_committed(tiny, name, backend):
    """A held step of 6 tokens of which 5 count, then on as if nothing had happened. On the cpu they give the bits
    that they give alone."""
    model, ids = tiny(name, "--quant", "f32"), tiny_models.prompt(name)
    plain = rows(model, ids, backend=backend, chunk=50)
    held = rows(model, ids, backend=backend, chunk=50, hold=6)
    assert relative_rms(held, plain) < 1e-5
    if backend == "cpu!":
        alone = rows(model, ids, backend=backend, chunk=1)
        assert np.array_equal(rows(model, ids, backend=backend, chunk=1, hold=6), alone)


def test_chunks_equal_the_recurrence_over_4096_tokens(tiny):
    model = tiny("qwen35_odd", "--quant", "f32")
    ids = (np.arange(4096) * 7919 % 251).tolist()
    value = "layers.0.linear_attn.delta"
    one_by_one = rows(model, ids, value=value, backend="cpu!", chunk=1)
    for chunk in (64, 37, 512):
        assert relative_rms(rows(model, ids, value=value, backend="cpu!", chunk=chunk), one_by_one) < 1e-5, chunk


# ---- per-layer embeddings ----

@pytest.fixture(scope="module")
def large_table(tmp_path_factory):
    """A model whose per-layer embeddings are 51 MB."""
    folder = tmp_path_factory.mktemp("large")
    config = dict(tiny_models.CONFIGS["gemma4_e2b"], vocab_size=100000, vocab_size_per_layer_input=100000)
    tensors = tiny_models.tensors_of("pages", config, tiny_models.shapes)
    tiny_models.write_folder(folder / "hf", "gemma4_e2b", config, tensors)
    run("convert", folder / "hf", "-o", folder / "m.elm", "--quant", "f32")
    return folder / "m.elm"


def test_only_the_pages_of_the_tokens_are_read(large_table):
    """Rows of 512 bytes, checked as a session checks them, in chunks of four pages; three rows lie beside each other.
    The ends of the table do not count: tests/tools/graph_tool.c."""
    tokens = [42000, 45000, 49999, 50000, 50001, 58000]
    read = pages(large_table, tokens)
    if read is None:
        pytest.skip("this file system keeps files in memory")
    assert 4 <= read <= 4 * 8  # a row may lie in two chunks


def test_a_damaged_row_is_found_when_its_token_comes(large_table, tmp_path):
    table = tiny_models.weight("pages", "model.embed_tokens_per_layer.weight", (100000, 128))
    data = bytearray(large_table.read_bytes())
    data[data.index(table[50000].tobytes())] ^= 1
    (tmp_path / "bad.elm").write_bytes(data)
    (tmp_path / "ids.txt").write_text("30000 70000")
    (tmp_path / "hit.txt").write_text("30000 50000")
    run("eval", tmp_path / "bad.elm", "--tokens", tmp_path / "ids.txt", "--logits", tmp_path / "out.npy")
    result = run("eval", tmp_path / "bad.elm", "--tokens", tmp_path / "hit.txt", "--logits", tmp_path / "out.npy",
                 check=None)
    assert result.returncode != 0 and "weights" in result.message


# ---- draft head ----

def with_mtp(tmp_path, name, rename=str):
    tensors = tiny_models.weights(name) | {rename(n): t for n, t in tiny_models.mtp_weights(name).items()}
    config = dict(tiny_models.CONFIGS[name], mtp_num_hidden_layers=1)
    folder = tiny_models.write_folder(tmp_path / "hf", name, config, tensors)
    run("convert", folder, "-o", tmp_path / "m.elm", "--quant", "f32")
    return tmp_path / "m.elm", tiny_models.weights(name) | tiny_models.mtp_weights(name)


@pytest.mark.parametrize("backend", ["ref!", "cpu!"])
@pytest.mark.parametrize("name", HYBRIDS)
def test_draft_graph_equals_the_numpy_oracle(tmp_path, name, backend):
    model, weights = with_mtp(tmp_path, name)
    ids = tiny_models.prompt(name)
    text = rows(model, ids, backend=backend)
    assert relative_rms(text[tiny_models.POSITIONS], golden(name)) < 1e-4
    hidden = rows(model, ids, value="hidden", backend=backend)[:-1]
    expected, expected_hidden = mtp(ids[1:], hidden, weights, tiny_models.CONFIGS[name])
    for chunk in (1, 37, 64):
        found = rows(model, ids[1:], "draft", "output", backend, hidden, chunk)
        assert relative_rms(found, expected) < 1e-4, chunk
    chained = rows(model, ids[1:], "draft", "hidden", backend, hidden)
    assert relative_rms(chained, expected_hidden) < 1e-4


def test_draft_head_below_model_is_the_same(tmp_path):
    model, _ = with_mtp(tmp_path, "qwen35", lambda n: "model." + n)
    assert "graph draft" in run("inspect", model, "--graph").text


# ---- refusals ----

@pytest.mark.parametrize("name,change,words", [
    ("qwen35", {"layer_types": ["mamba"] * 4}, ["mamba", "layer 0"]),
    ("gemma4_e2b", {"layer_types": ["chunked_attention"] * 8}, ["chunked_attention"]),
    ("qwen35", {"rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4}}, ["longrope"]),
    ("qwen3_moe", {"hidden_act": "relu6"}, ["relu6"]),
    ("qwen35", {"output_gate_type": "softsign"}, ["softsign"]),
    ("gemma4_31b", {"use_bidirectional_attention": "all"}, ["use_bidirectional_attention"]),
    ("gemma4_31b", {"per_layer_config": {"2": {"sliding_window": 4}}}, ["sliding_window", "layer 2"]),
    ("gemma4_e2b", {"num_kv_shared_layers": 7}, ["shares keys and values"]),
    ("qwen3_moe", {"num_experts_per_tok": 9}, ["9 of 8"]),
    ("qwen35", {"linear_num_value_heads": 5}, ["5 value heads"]),
    ("qwen35", {"mtp_use_dedicated_embeddings": True}, ["mtp_use_dedicated_embeddings"])])
def test_configs_that_are_not_understood_are_refused_by_name(tmp_path, name, change, words):
    config = dict(tiny_models.CONFIGS[name], **change)
    result = refusal(tiny_models.write_folder(tmp_path / "hf", name, config), tmp_path)
    assert result.returncode not in (0, None) and all(w in result.message for w in words), result.message


@pytest.mark.parametrize("name,tensor", [
    ("qwen35", "model.layers.0.linear_attn.A_log"), ("qwen35_moe", "model.layers.1.mlp.experts.down_proj"),
    ("gemma4_e2b", "model.layers.3.layer_scalar"), ("gemma4_26b", "model.layers.0.router.per_expert_scale"),
    ("gemma4_e2b", "model.embed_tokens_per_layer.weight"), ("qwen3_moe", "model.layers.1.mlp.gate.weight")])
def test_tensors_that_are_missing_or_misshaped_are_refused_by_name(tmp_path, name, tensor):
    tensors = tiny_models.weights(name)
    shape = tensors[tensor].shape
    tensors[tensor] = np.zeros((shape[0] + 1, *shape[1:]), np.float32)
    result = refusal(tiny_models.write_folder(tmp_path / "a", name, tensors=tensors), tmp_path)
    assert result.returncode != 0 and tensor in result.message
    del tensors[tensor]
    result = refusal(tiny_models.write_folder(tmp_path / "b", name, tensors=tensors), tmp_path)
    assert result.returncode != 0 and tensor.removesuffix("down_proj") in result.message


def test_extra_tensors_are_refused_by_name(tmp_path):
    tensors = tiny_models.weights("gemma4_31b") | {"model.layers.2.self_attn.v_proj.weight": np.zeros((32, 64))}
    result = refusal(tiny_models.write_folder(tmp_path / "hf", "gemma4_31b", tensors=tensors), tmp_path)
    assert result.returncode != 0 and "model.layers.2.self_attn.v_proj.weight" in result.message


# ---- quantised ----

def test_what_is_never_quantised(tiny):
    """models.md 0.4: routers, gates, taps, decay rates, norms and scales keep the source's precision."""
    for name, words in (("qwen35_moe", ["in_proj_ba", "mlp.gate.", "shared_expert_gate", "A_log", "conv1d"]),
                        ("gemma4_26b", ["router", "layer_scalar", "norm"])):
        tensors = json.loads(run("inspect", tiny(name, "--quant", "int4"), "--tensors", "--json").text)["tensors"]
        kept = [t for t in tensors if any(w in t["name"] for w in words)]
        assert len(kept) >= len(words) and all(t["type"] == "f32" for t in kept), [t["name"] for t in kept]
        assert any(t["type"] == "int4" for t in tensors)


@pytest.mark.parametrize("name", ["qwen3_moe", "qwen35", "qwen35_moe", "gemma4_e2b", "gemma4_26b"])
def test_int8_is_near_f32(tiny, tmp_path, name):
    ids = tiny_models.prompt(name)
    exact = logits(tiny(name, "--quant", "f32"), ids, tmp_path)
    found = logits(tiny(name, "--quant", "int8"), ids, tmp_path)
    rows_off = np.sort([relative_rms(f, e) for f, e in zip(found, exact)])
    assert rows_off[len(rows_off) // 2] < 0.1  # the median row: routing may tip over in some
