"""Folders that hold something else than a model, or a model and its remains: what is missing, and what to do."""
import json

import numpy as np
import pytest
from conftest import logits, run, tiny_models

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 988097824\n"


@pytest.fixture
def folder(tmp_path):
    return tiny_models.write_folder(tmp_path / "hf", "qwen3")


def refused(folder, code, *words):
    out = folder.parent / "m.elm"
    message = run("convert", folder, "-o", out, check=code).message
    assert all(w in message for w in words), message
    assert not out.exists() and not (folder.parent / "m.elm.part").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_pointer_of_git_lfs(folder, name):
    (folder / name).write_bytes(POINTER)
    refused(folder, 4, name, "git lfs pull")


def test_a_gguf_that_is_a_pointer(tmp_path):
    (tmp_path / "m.gguf").write_bytes(POINTER)
    assert "git lfs pull" in run("convert", tmp_path / "m.gguf", "-o", tmp_path / "m.elm", check=4).message


@pytest.mark.parametrize("missing,there,code,word", [
    ("model.safetensors", "pytorch_model.bin", 5, "safetensors"),
    ("model.safetensors", "pytorch_model.bin.index.json", 5, "safetensors"),
    ("model.safetensors", "adapter_model.safetensors", 5, "merge"),
    ("model.safetensors", "consolidated.safetensors", 5, "Hugging Face format"),
    ("model.safetensors", "other.txt", 3, "model.safetensors' is missing"),
    ("tokenizer.json", "tokenizer.model", 3, "save_pretrained"),
    ("config.json", "adapter_config.json", 5, "merge")])
def test_what_is_there_instead(folder, missing, there, code, word):
    (folder / missing).unlink()
    (folder / there).write_bytes(b"PK")
    refused(folder, code, missing, word)


@pytest.mark.parametrize("method,tensors", [
    ("gptq", {"qweight": ("I32", (12, 64), bytes(3072)), "scales": ("F16", (1, 64), bytes(128))}),
    ("fp8", {"weight": ("F8_E4M3", (64, 96), bytes(6144)), "weight_scale_inv": ("F32", (1, 1), bytes(4))}),
    ("bitsandbytes", {"weight": ("U8", (3072, 1), bytes(3072)), "weight.absmax": ("F32", (96,), bytes(384))})])
def test_a_checkpoint_that_another_tool_quantised(tmp_path, method, tensors):
    config = dict(tiny_models.CONFIGS["qwen3"], quantization_config={"quant_method": method})
    all_tensors, name = dict(tiny_models.weights("qwen3")), "model.layers.1.mlp.down_proj"
    del all_tensors[name + ".weight"]
    all_tensors |= {f"{name}.{rest}": t for rest, t in tensors.items()}
    folder = tiny_models.write_folder(tmp_path / "hf", "qwen3", config, all_tensors)
    refused(folder, 5, f"quantised by '{method}'", name)


def test_a_single_file_wins_over_an_index_that_was_left(tmp_path):
    """As transformers: someone saved a smaller form into the folder of a sharded checkpoint."""
    ids = tiny_models.prompt("qwen3")
    for shards, scale in ((1, 1.0), (2, 3.0)):
        tensors = {n: t * np.float32(scale) for n, t in tiny_models.weights("qwen3").items()}
        tiny_models.write_folder(tmp_path / "hf", "qwen3", None, tensors, shards=shards)
    run("convert", tmp_path / "hf", "-o", tmp_path / "m.elm", "--quant", "f32")
    alone = tiny_models.write_folder(tmp_path / "alone", "qwen3")
    run("convert", alone, "-o", tmp_path / "alone.elm", "--quant", "f32")
    assert np.array_equal(logits(tmp_path / "m.elm", ids, tmp_path), logits(tmp_path / "alone.elm", ids, tmp_path))


@pytest.mark.parametrize("file,change,word", [
    ("config.json", {"max_position_embeddings": 0}, "max_position_embeddings"),
    ("generation_config.json", {"temperature": -1}, "temperature"),
    ("generation_config.json", {"top_p": 2.0}, "top_p"),
    ("generation_config.json", {"repetition_penalty": 0.0}, "repetition_penalty")])
def test_numbers_that_no_reader_accepts_are_refused_before_anything_is_written(folder, file, change, word):
    values = json.loads((folder / file).read_text()) | change
    (folder / file).write_text(json.dumps(values))
    refused(folder, 4, word)


def test_a_top_k_below_zero_is_off(folder, tmp_path):
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 0, "top_k": -1}))
    run("convert", folder, "-o", tmp_path / "m.elm")
    run("run", tmp_path / "m.elm", "-p", "a", "-n", "1")
