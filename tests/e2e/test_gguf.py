"""GGUF to .elm: the same model as a Hugging Face folder of the dequantised weights, what can be carried over is carried
over exactly, and what cannot is named with its error."""
import json

import numpy as np
import pytest
from conftest import logits, relative_rms, run, tiny_models

import gguf_files
from test_tiny_models import bar, golden

WINDOW = 16  # of the mistral model: as "llama" in GGUF it has none, and up to here there is no difference


@pytest.fixture
def pair(tmp_path):
    """pair(name, kind_of) -> a GGUF, and a folder with the float32 values that it holds."""
    def make(name, kind_of):
        kept = gguf_files.write(tmp_path / "m.gguf", name, kind_of)
        folder = tiny_models.write_folder(tmp_path / "hf", name, tensors=kept)
        return tmp_path / "m.gguf", folder
    return make


def records(model):
    return {t["name"]: t for t in json.loads(run("inspect", model, "--json").text)["tensors"]}


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "IQ4_NL"])
@pytest.mark.parametrize("name", ["mistral", "qwen3"])
def test_a_gguf_is_the_folder_of_its_values(pair, tmp_path, name, kind):
    gguf, folder = pair(name, lambda tensor: kind)
    ids = tiny_models.prompt(name)[:WINDOW]
    found = []
    for source in [gguf, folder]:
        run("convert", source, "-o", tmp_path / "m.elm", "--quant", "f32")
        found.append(logits(tmp_path / "m.elm", ids, tmp_path))
    assert np.array_equal(found[0].view(np.uint32), found[1].view(np.uint32))


# What GGUF cannot say: windows of mistral and qwen2, norm_topk_prob, layers without RoPE.
UNSAID = {"mistral", "qwen2", "llama3", "qwen3_yarn", "qwen3_moe_odd", "smollm3"}
NAMES = sorted(set(tiny_models.CONFIGS) - UNSAID)
SPLIT = [name for name in NAMES if "num_experts" in tiny_models.CONFIGS[name]]


@pytest.mark.parametrize("name,split", [(name, False) for name in NAMES] + [(name, True) for name in SPLIT])
def test_every_family_equals_transformers(tmp_path, name, split):
    """Floats that llama.cpp's converter permuted, shifted and tiled, against the reference's logits; experts' gates and
    ups in one tensor and in two."""
    gguf_files.write(tmp_path / "m.gguf", name, lambda tensor: "F32", split_experts=split)
    run("convert", tmp_path / "m.gguf", "-o", tmp_path / "m.elm", "--quant", "f32")
    found = logits(tmp_path / "m.elm", tiny_models.prompt(name), tmp_path)
    assert relative_rms(found[tiny_models.POSITIONS], golden(name)) < bar(name)


@pytest.mark.parametrize("name", ["llama_bias", "qwen3", "qwen35", "gemma3", "gemma4_e2b", "granite"])
def test_q_k_and_v_in_one_tensor(tmp_path, name):
    """A newer converter's choice, also for models that have them apart; below delta nets the name means another."""
    gguf_files.write(tmp_path / "m.gguf", name, lambda tensor: "F32", fused=True)
    assert b"attn_qkv" in (tmp_path / "m.gguf").read_bytes()
    run("convert", tmp_path / "m.gguf", "-o", tmp_path / "m.elm", "--quant", "f32")
    found = logits(tmp_path / "m.elm", tiny_models.prompt(name), tmp_path)
    assert relative_rms(found[tiny_models.POSITIONS], golden(name)) < bar(name)


@pytest.mark.parametrize("name,silent", [("qwen2", {"use_sliding_window": False, "layer_types": None}),
                                         ("smollm3", {"no_rope_layer_interval": 4})])
def test_what_a_gguf_leaves_out_is_the_default(pair, tmp_path, monkeypatch, name, silent):
    monkeypatch.setitem(tiny_models.CONFIGS, name, tiny_models.CONFIGS[name] | silent)
    gguf, folder = pair(name, lambda tensor: "F32")
    found = []
    for source in [gguf, folder]:
        run("convert", source, "-o", tmp_path / "m.elm", "--quant", "f32")
        found.append(logits(tmp_path / "m.elm", tiny_models.prompt(name), tmp_path))
    assert np.array_equal(found[0], found[1])


def test_an_unknown_architecture_is_refused_by_name(tmp_path):
    gguf_files.write_file(tmp_path / "m.gguf", {"general.architecture": "falcon"}, {"x": ((4,), "F32", bytes(16))})
    assert "'falcon'" in run("convert", tmp_path / "m.gguf", "-o", tmp_path / "m.elm", check=5).message


def test_a_big_endian_file_is_named(pair, tmp_path):
    gguf, _ = pair("mistral", lambda tensor: "F32")
    data = bytearray(gguf.read_bytes())
    data[4:8] = data[4:8][::-1]
    gguf.write_bytes(data)
    assert "big-endian" in run("convert", gguf, "-o", tmp_path / "m.elm", check=5).message


@pytest.fixture
def wide_heads(monkeypatch):
    """qwen35 with value heads of 32, the size of a block."""
    monkeypatch.setitem(tiny_models.CONFIGS, "qwen35", tiny_models.CONFIGS["qwen35"] | {"linear_value_head_dim": 32})


@pytest.mark.parametrize("kind,quant", [("F16", "f32"), ("Q8_0", "keep"), ("Q4_0", "keep"), ("IQ4_NL", "keep")])
@pytest.mark.parametrize("name", ["qwen35", "qwen35_moe", "gemma4_e2b", "qwen3_moe"])
def test_tiled_and_stacked_blocks_are_the_folder_of_their_values(pair, tmp_path, wide_heads, name, kind, quant):
    """Rows of blocks in another order are carried over, columns too where no block is cut in two. Kept codes differ
    from the folder's floats by the activation quantisation, in some rows by the choice of an expert."""
    gguf, folder = pair(name, lambda tensor: kind if last_dim(tensor, name) % 32 == 0 else "F32")
    ids, found = tiny_models.prompt(name)[:40], []
    for source, how, out in [(gguf, quant, "a.elm"), (folder, "f32", "b.elm")]:
        run("convert", source, "-o", tmp_path / out, "--quant", how)
        found.append(logits(tmp_path / out, ids, tmp_path, "--kv", "f32"))
    rows = sorted(relative_rms(a, b) for a, b in zip(*found))
    assert rows[len(rows) // 2] < (1e-5 if quant == "f32" else 0.1)
    cut = [n for n, t in records(tmp_path / "a.elm").items() if t["rel_rms"] > 0]
    expected = "linear_attn.out" if name == "qwen35_moe" and quant == "keep" else None
    if (name, kind) == ("gemma4_e2b", "IQ4_NL"):  # a table that is read row by row is made from floats
        expected = "embed_tokens_per_layer"
    assert all(expected and expected in n for n in cut), cut


def last_dim(tensor, name):
    return tiny_models.shapes(tiny_models.CONFIGS[name])[tensor][-1]


def test_the_draft_head_is_carried_over(tmp_path):
    """As in the folder: the same drafts, the same text."""
    kept = gguf_files.write(tmp_path / "m.gguf", "qwen35", lambda tensor: "F32", draft=True)
    folder = tiny_models.write_folder(tmp_path / "hf", "qwen35", tensors=kept)
    outputs = []
    for source in [tmp_path / "m.gguf", folder]:
        run("convert", source, "-o", tmp_path / "m.elm", "--quant", "f32")
        assert "draft" in run("inspect", tmp_path / "m.elm", "--graph").text
        result = run("run", tmp_path / "m.elm", "--raw", "-p", "xyz", "-n", "40", "--temp", "0", "--draft", "mtp",
                     "--stats")
        outputs.append(result.stdout)
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("kind,stored", [("F32", "f32"), ("F16", "f16"), ("BF16", "bf16"), ("Q8_0", "int8"),
                                         ("Q4_0", "int4"), ("IQ4_NL", "int8")])
def test_keep_carries_over_exactly(pair, tmp_path, kind, stored):
    """Exact says that no weight changed: dequantised by hand, the file computes what the folder does. The oracle with
    the folder's floats and with the kept codes differ by the activation quantisation alone."""
    gguf, folder = pair("mistral", lambda tensor: kind)
    result = run("convert", gguf, "-o", tmp_path / "keep.elm", "--quant", "keep")
    assert "cannot be held" not in result.message
    matrices = [t for t in records(tmp_path / "keep.elm").values() if "embed" in t["name"] or "proj" in t["name"]
                or "qkv" in t["name"] or "mlp" in t["name"] or "lm_head" in t["name"]]
    assert len(matrices) >= 8
    assert all(t["type"] == stored and t["rel_rms"] == 0 for t in matrices), matrices
    run("convert", folder, "-o", tmp_path / "f32.elm", "--quant", "f32")
    ids = tiny_models.prompt("mistral")[:WINDOW]
    exact = logits(tmp_path / "f32.elm", ids, tmp_path, "--kv", "f32")
    found = logits(tmp_path / "keep.elm", ids, tmp_path, "--kv", "f32")
    assert relative_rms(found, exact) < (1e-6 if kind in ("F32", "F16", "BF16") else 0.03)


def test_what_cannot_be_held_is_named_with_its_error(pair, tmp_path):
    """Q4_1 has a minimum that is no whole number of steps; beside it Q4_0 stays what it is."""
    gguf, _ = pair("mistral", lambda tensor: "Q4_1" if "down_proj" in tensor else "Q4_0")
    message = run("convert", gguf, "-o", tmp_path / "m.elm").message
    lines = [line for line in message.splitlines() if "cannot be held exactly" in line]
    assert len(lines) == tiny_models.CONFIGS["mistral"]["num_hidden_layers"]
    for name, t in records(tmp_path / "m.elm").items():
        requantised = "down" in name
        assert (t["rel_rms"] > 0) == requantised
        if requantised:
            assert t["type"] == "int8" and any(line.startswith(name + ":") for line in lines)
            printed = next(line for line in lines if line.startswith(name + ":")).split("relative error ")[1]
            assert abs(float(printed.rstrip(")")) / t["rel_rms"] - 1) < 0.01


def test_parts_of_different_types_are_stored_apart(pair, tmp_path):
    """q and k are Q4_0 and v is Q8_0: joined they could not be kept."""
    gguf, _ = pair("mistral", lambda tensor: "Q8_0" if "v_proj" in tensor else "Q4_0")
    run("convert", gguf, "-o", tmp_path / "m.elm")
    qkv = [t for name, t in records(tmp_path / "m.elm").items() if "qkv" in name]
    assert sorted({t["type"] for t in qkv}) == ["int4", "int8"] and all(t["rel_rms"] == 0 for t in qkv)


def test_a_split_model_is_that_of_one_file(tmp_path):
    gguf_files.write(tmp_path / "m.gguf", "qwen3", lambda tensor: "Q8_0")
    gguf_files.write(tmp_path / "m", "qwen3", lambda tensor: "Q8_0", files=3)
    parts = [tmp_path / f"m-{i:05d}-of-00003.gguf" for i in (1, 2, 3)]
    ids, found = tiny_models.prompt("qwen3"), []
    for source in [tmp_path / "m.gguf", parts[0]]:
        run("convert", source, "-o", tmp_path / "m.elm")
        found.append(logits(tmp_path / "m.elm", ids, tmp_path))
    assert np.array_equal(*found)
    assert "tokens" not in run("tokenize", parts[0], "-p", "ab").message  # the first file alone has the vocabulary
    assert "give the first one" in run("convert", parts[1], "-o", tmp_path / "b.elm", check=2).message
    assert parts[2].name in run("convert", parts[0], "-o", parts[2], check=2).message
    parts[2].rename(tmp_path / "gone")
    assert parts[2].name in run("convert", parts[0], "-o", tmp_path / "b.elm", check=3).message
    parts[1].rename(parts[2])
    parts[2].with_name(parts[1].name).write_bytes((tmp_path / "gone").read_bytes())
    assert "another part" in run("convert", parts[0], "-o", tmp_path / "b.elm", check=4).message
    renamed = parts[0].rename(tmp_path / "first.gguf")
    assert "-00001-of-00003.gguf" in run("convert", renamed, "-o", tmp_path / "b.elm", check=3).message


def test_phi3s_added_tokens_strip_what_follows(tmp_path):
    """But for <s> and two others; and not those of other models with the same vocabulary."""
    pieces = ["<unk>", "<s>", "</s>", "<|user|>", "<0x0A>", "\u2581", "a", "\u2581a"]
    for architecture, expected in [("phi3", "3 7 1 5 4 6"), ("llama", "3 5 4 5 7 1 5 4 6")]:
        metadata = {"general.architecture": architecture, "tokenizer.ggml.model": "llama",
                    "tokenizer.ggml.tokens": pieces, "tokenizer.ggml.token_type": [2, 3, 3, 3, 6, 1, 1, 1],
                    "tokenizer.ggml.scores": [0.0, 0.0, 0.0, 0.0, 0.0, -2.0, -1.0, -3.0]}
        gguf_files.write_file(tmp_path / "m.gguf", metadata, {"x": ((4,), "F32", bytes(16))})
        found = run("tokenize", tmp_path / "m.gguf", "--no-bos", "-p", "<|user|>\n  a<s>\na").text
        assert found.split() == expected.split()


@pytest.mark.parametrize("cut", [0, 3, 24, 1000, 0.5, -1])
def test_truncated(pair, tmp_path, cut):
    gguf, _ = pair("mistral", lambda tensor: "Q4_0")
    data = gguf.read_bytes()
    gguf.write_bytes(data[:cut if isinstance(cut, int) else int(len(data) * cut)])
    assert "m.gguf" in run("convert", gguf, "-o", tmp_path / "m.elm", check=4).message
    assert not (tmp_path / "m.elm").exists() and not (tmp_path / "m.elm.part").exists()
