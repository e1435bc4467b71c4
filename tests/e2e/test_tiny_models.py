"""Every family against transformers: logits of tiny random models, all positions kept in tests/golden."""
import numpy as np
import pytest
from conftest import ROOT, logits, relative_rms, run, tiny_models
from graph_tool import first_wrong_layer

NAMES = sorted(tiny_models.CONFIGS)


def bar(name):
    """Relative RMS. The reference's own float32 noise is near 1e-6, with per-layer embeddings 6e-5: attention with
    scale 1 sharpens."""
    return 3e-4 if tiny_models.CONFIGS[name].get("hidden_size_per_layer_input") else 1e-4


def golden(name):
    return np.load(ROOT / "tests" / "golden" / f"{name}.npy")


@pytest.mark.parametrize("backend", ["ref!", "cpu!"])
@pytest.mark.parametrize("name", NAMES)
def test_logits_equal_transformers(tiny, tmp_path, name, backend):
    model, ids = tiny(name, "--quant", "f32"), tiny_models.prompt(name)
    found = logits(model, ids, tmp_path, "--backend", backend)
    assert found.shape == (tiny_models.PROMPT_TOKENS, tiny_models.CONFIGS[name]["vocab_size"])
    if not relative_rms(found[tiny_models.POSITIONS], golden(name)) < bar(name):
        layers = np.load(ROOT / "tests" / "golden" / f"{name}.layers.npy")
        pytest.fail(first_wrong_layer(model, ids, layers, backend, bar(name)))


@pytest.mark.parametrize("name", ["llama3", "qwen3_yarn", "gemma3"])
def test_the_older_config_style_means_the_same(tmp_path, name):
    config = tiny_models.v4_style(tiny_models.CONFIGS[name])
    folder = tiny_models.write_folder(tmp_path / "hf", name, config)
    run("convert", folder, "-o", tmp_path / "m.elm", "--quant", "f32")
    found = logits(tmp_path / "m.elm", tiny_models.prompt(name), tmp_path)
    assert relative_rms(found[tiny_models.POSITIONS], golden(name)) < bar(name)


@pytest.mark.parametrize("options", [("int8", "32"), ("int8", "64"), ("int8", "channel"), ("int4", "32"),
                                     ("int4", "128"), ("int4", "channel"), ("int4", "32", "--zero-point"),
                                     ("int8", "64", "--zero-point"), ("bf16", "32"), ("f16", "32")])
@pytest.mark.parametrize("name", ["llama_odd", "qwen3", "gemma3_odd", "qwen35_moe", "gemma4_odd"])
def test_cpu_equals_ref_on_the_same_file(tiny, tmp_path, name, options):
    """Same file, same activation quantisation. The tight bound is a node's (tests/conform). Over a whole model one
    activation code may round the other way where cpu and ref differ in the last bit; it moves what follows by a
    step of 1/127 of a group (docs/numerics.md, "flips"). Rows before the first flip agree to float32."""
    quant, group, *rest = options
    model = tiny(name, "--quant", quant, "--group", group, *rest)
    ids = tiny_models.prompt(name)
    reference = logits(model, ids, tmp_path, "--backend", "ref!", "--kv", "f32")
    found = logits(model, ids, tmp_path, "--backend", "cpu!", "--kv", "f32")
    rows = sorted(relative_rms(f, r) for f, r in zip(found, reference))
    assert rows[4] < 1e-5
    # A flip may also tip a token over to another expert: then only the median row says something.
    worst = rows[len(rows) // 2] if tiny_models.CONFIGS[name].get("num_experts") else relative_rms(found, reference)
    assert worst < (2e-2 if quant.startswith("int") else 1e-5)


@pytest.mark.parametrize("kv", ["f32", "f16", "int8"])
@pytest.mark.parametrize("name,quant", [("qwen3", "int4"), ("gemma3", "int8"), ("mistral", "f32"),
                                        ("llama_odd", "int4"), ("llama3", "bf16"), ("qwen3_moe", "int8"),
                                        ("gemma4_e2b", "int4"), ("gemma4_26b", "bf16")])
def test_any_chunking_and_any_threads_give_the_same_bits(tiny, tmp_path, name, quant, kv):
    model, ids = tiny(name, "--quant", quant), tiny_models.prompt(name)[:100]
    first = logits(model, ids, tmp_path, "--chunk", "1", "--threads", "1", "--kv", kv)
    for chunk, threads in [(64, 1), (37, 2), (49, 3), (100, 4), (9, 4), (7, 2)]:
        found = logits(model, ids, tmp_path, "--chunk", chunk, "--threads", threads, "--kv", kv)
        assert np.array_equal(found.view(np.uint32), first.view(np.uint32)), (chunk, threads)


@pytest.mark.parametrize("kv", ["f16", "int8"])
@pytest.mark.parametrize("name", ["qwen3", "gemma3"])
def test_one_token_at_depth_gives_the_same_bits(tiny, tmp_path, name, kv):
    """Several threads divide the cache in front of one token by chunks of 512 and by heads; 16 chunks make a wave."""
    model, ids = tiny(name, "--quant", "int4"), tiny_models.prompt(name)
    for n in (513, 1281, 8449):
        deep, options = (ids * (n // len(ids) + 1))[:n], ("--chunk", 128, "--ctx", n, "--kv", kv)
        first = logits(model, deep, tmp_path, *options, "--threads", 1)
        for threads in (2, 3, 7):
            found = logits(model, deep, tmp_path, *options, "--threads", threads)
            assert np.array_equal(found[-1].view(np.uint32), first[-1].view(np.uint32)), (n, threads)


@pytest.mark.parametrize("name", ["qwen3", "gemma3"])
def test_int8_is_near_f32(tiny, tmp_path, name):
    ids = tiny_models.prompt(name)
    exact = logits(tiny(name, "--quant", "f32"), ids, tmp_path)
    found = logits(tiny(name, "--quant", "int8"), ids, tmp_path)
    assert relative_rms(found, exact) < 0.05


def test_bf16_checkpoint_is_carried_over(tmp_path):
    folder = tiny_models.write_folder(tmp_path / "hf", "qwen3", dtype="BF16", shards=3)
    run("convert", folder, "-o", tmp_path / "keep.elm", "--quant", "keep")
    run("convert", folder, "-o", tmp_path / "f32.elm", "--quant", "f32")
    ids = tiny_models.prompt("qwen3")
    kept = logits(tmp_path / "keep.elm", ids, tmp_path, "--kv", "f32")
    wide = logits(tmp_path / "f32.elm", ids, tmp_path, "--kv", "f32")
    assert np.array_equal(kept, wide)
