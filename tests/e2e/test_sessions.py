"""Sessions from the command line: kept in files, rewound, drafted for; the text is always that of plain decoding."""
import json
import re

import pytest
from conftest import run, tiny_models

KINDS = [name for name in ["qwen3", "gemma3", "qwen35", "gemma4_e2b"] if name in tiny_models.CONFIGS]
PROMPT = "abcabcabcab" * 6


def ids(model, *options):
    return run("run", model, "--temp", "0", "--raw", "--ids", *options).text.split()


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("kv", ["f32", "f16", "int8"])
def test_a_kept_session_goes_on_as_if_it_had_not_been_kept(tiny, tmp_path, name, kv):
    model, file = tiny(name, "--quant", "int8"), tmp_path / "s.bin"
    both = ids(model, "-p", PROMPT, "-n", "24", "--kv", kv)
    first = ids(model, "-p", PROMPT, "-n", "10", "--kv", kv, "--save", file)
    rest = ids(model, "-p", "", "-n", "14", "--load", file, "--save", file)
    assert first + rest == both
    sampled = ("--temp", "2", "--seed", "5", "--kv", kv)
    both = ids(model, "-p", PROMPT, "-n", "24", *sampled)
    first = ids(model, "-p", PROMPT, "-n", "10", *sampled, "--save", file)
    assert first + ids(model, "-p", "", "-n", "14", *sampled, "--load", file) == both
    assert not file.with_suffix(".bin.part").exists()


def test_a_kept_conversation_goes_on(tiny, tmp_path):
    model, file, args = tiny("qwen3", "--quant", "f32"), tmp_path / "s.bin", ("--temp", "0", "-n", "12")
    whole = run("chat", model, *args, stdin=b"one\ntwo\nthree\n").text
    first = run("chat", model, *args, "--save", file, stdin=b"one\ntwo\n").text
    assert first + run("chat", model, *args, "--load", file, stdin=b"three\n").text == whole
    assert first + run("run", model, *args, "--load", file, "-p", "three").text == whole
    assert "--system" in run("run", model, "--load", file, "-p", "x", "--system", "y", check=2).message


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("sampling", [("--temp", "0"), ("--temp", "1.5", "--seed", "3", "--top-k", "30")])
def test_drafts_change_no_token(tiny, name, sampling):
    model, args = tiny(name, "--quant", "int8"), ("--raw", "--json", "-p", PROMPT, "-n", "60", *sampling)
    plain = json.loads(run("run", model, *args).text)
    for draft in ["lookup", model, tiny(name, "--quant", "int4")]:
        drafted = json.loads(run("run", model, *args, "--draft", draft).text)
        assert drafted["ids"] == plain["ids"] and drafted["text"] == plain["text"]
        assert drafted["accepted_tokens"] <= drafted["drafted_tokens"]
        if draft == model and sampling == ("--temp", "0"):
            assert drafted["accepted_tokens"] > 0
    assert plain["drafted_tokens"] == 0


@pytest.fixture(scope="module")
def with_head(tmp_path_factory):
    """A tiny Qwen3.5 with its draft head; head(quant) -> path."""
    folder = tmp_path_factory.mktemp("mtp")
    config = dict(tiny_models.CONFIGS["qwen35"], mtp_num_hidden_layers=1)
    tensors = tiny_models.weights("qwen35") | tiny_models.mtp_weights("qwen35")
    tiny_models.write_folder(folder / "hf", "qwen35", config, tensors)

    def make(quant):
        path = folder / f"{quant}.elm"
        if not path.exists():
            run("convert", folder / "hf", "-o", path, "--quant", quant)
        return path

    return make


@pytest.mark.parametrize("quant,kv", [("f32", "f32"), ("int8", "f16"), ("int8", "int8")])
def test_a_draft_head_changes_no_token(with_head, tmp_path, quant, kv):
    model, file = with_head(quant), tmp_path / "s.bin"
    for sampling in [("--temp", "0"), ("--temp", "1.2", "--seed", "4")]:
        args = ("--raw", "--json", "-p", PROMPT, "-n", "80", "--kv", kv, *sampling)
        plain = json.loads(run("run", model, *args).text)
        drafted = json.loads(run("run", model, *args, "--draft", "mtp", "--threads", "1").text)
        assert drafted["ids"] == plain["ids"] and drafted["drafted_tokens"] > 0
        args = ("--raw", "--ids", "--kv", kv, *sampling, "--draft", "mtp")
        first = run("run", model, *args, "-p", PROMPT, "-n", "30", "--save", file).text.split()
        rest = run("run", model, *args, "-p", "", "-n", "50", "--load", file).text.split()
        assert [int(x) for x in first + rest] == plain["ids"]


def test_what_guesses_take_is_shown(with_head, tiny):
    """Before, by inspect, and after, by --stats."""
    model = with_head("f32")
    before = re.search(r"--draft mtp takes ([0-9.]+) MB more", run("inspect", model).text)
    said = run("run", model, "--raw", "-p", "x", "-n", "4", "--draft", "mtp", "--stats").message
    after = re.search(r", ([0-9.]+) of it for guesses", said)
    assert before and after and abs(float(before[1]) - float(after[1])) < 0.06 and float(after[1]) > 0
    assert "for guesses" not in run("run", model, "--raw", "-p", "x", "-n", "4", "--stats").message
    assert "--draft mtp" not in run("inspect", tiny("qwen3", "--quant", "f32")).text


def test_what_cannot_draft_is_refused(tiny, tmp_path):
    model = tiny("qwen3", "--quant", "int8")
    assert "draft head" in run("run", model, "-p", "x", "--draft", "mtp", check=5).message
    run("run", model, "-p", "x", "--draft", tmp_path / "nothing.elm", check=3)


def test_files_that_are_no_session_of_this_model(tiny, tmp_path):
    file, model = tmp_path / "s.bin", tiny("qwen3", "--quant", "int8")
    ids(model, "-p", "abc", "-n", "3", "--save", file)
    other = run("run", tiny("gemma3", "--quant", "int8"), "-p", "x", "--load", file, check=2).message
    assert "another model" in other and "qwen3" in other
    assert "f16" in run("run", model, "-p", "x", "--load", file, "--kv", "int8", check=2).message
    assert "context" in run("run", model, "-p", "x", "--load", file, "--ctx", "2", check=2).message
    good = file.read_bytes()
    for bad in [b"", good[:100], good[:-1], good + b"x", good[:300] + b"\xff" + good[301:], b"x" * 300]:
        file.write_bytes(bad)
        run("run", model, "-p", "x", "--load", file, check=4)
    run("run", model, "-p", "x", "--load", tmp_path / "nothing", check=3)
    run("run", model, "-p", "x", "-n", "1", "--save", tmp_path / "no" / "folder", check=3)


def test_chat_reuses_what_was_said(tiny):
    model = tiny("gemma3", "--quant", "int8")
    lines = b"".join(b"this is question number %d\n" % i for i in range(4))
    stats = run("chat", model, "--temp", "0", "-n", "8", "--stats", stdin=lines).message.splitlines()
    reused = [int(line.split(" reused")[0].split()[-1]) for line in stats if " reused" in line]
    assert len(reused) == 4 and reused[0] == 0 and reused[-1] > reused[1] > 0
