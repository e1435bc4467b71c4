"""The command line as a user meets it: the forms, the streams, the exit codes, what bad input gets."""
import csv
import datetime
import json
import os
import pty
import re
import shutil
import stat
import subprocess

import numpy as np
import pytest
from conftest import BIN, logits, run, tiny_models


@pytest.fixture
def folder(tmp_path):
    return tiny_models.write_folder(tmp_path / "hf", "qwen3")


def convert_fails(folder, tmp_path, code, *words):
    out = tmp_path / "out.elm"
    out.write_bytes(b"what was here before")
    message = run("convert", folder, "-o", out, check=code).message
    for word in words:
        assert word in message, message
    assert out.read_bytes() == b"what was here before"
    assert not (tmp_path / "out.elm.part").exists()
    return message


# ---- convert ----

def test_two_conversions_give_the_same_bytes(folder, tmp_path):
    for name, threads in [("a", 1), ("b", 4)]:
        run("convert", folder, "-o", tmp_path / f"{name}.elm", "--threads", threads)
    assert (tmp_path / "a.elm").read_bytes() == (tmp_path / "b.elm").read_bytes()


def test_sharded_and_single_are_the_same_model(tmp_path):
    one = tiny_models.write_folder(tmp_path / "one", "gemma3")
    many = tiny_models.write_folder(tmp_path / "many", "gemma3", shards=3)
    run("convert", one, "-o", tmp_path / "a.elm")
    run("convert", many, "-o", tmp_path / "b.elm")
    report = json.loads(run("diff", tmp_path / "a.elm", tmp_path / "b.elm", "--json", check=1).text)
    names = [d["name"] for d in report["differences"]]  # only META's names of the source's files
    assert names == ["meta", "source.sha256.model.safetensors.index.json", "source.weights"]


def change_tensors(folder, change):
    tensors = tiny_models.weights("qwen3")
    change(tensors)
    tiny_models.write_safetensors(folder / "model.safetensors", tensors)


def test_missing_tensor(folder, tmp_path):
    change_tensors(folder, lambda t: t.pop("model.layers.1.mlp.up_proj.weight"))
    convert_fails(folder, tmp_path, 4, "model.layers.1.mlp.up_proj.weight", "missing")


def test_extra_tensor(folder, tmp_path):
    change_tensors(folder, lambda t: t.update({"model.layers.0.surprise.weight": np.zeros((2, 2), np.float32)}))
    convert_fails(folder, tmp_path, 4, "surprise")


def test_misshaped_tensor(folder, tmp_path):
    change_tensors(folder, lambda t: t.update({"model.norm.weight": np.ones(63, np.float32)}))
    convert_fails(folder, tmp_path, 4, "model.norm.weight", "63", "64")


@pytest.mark.parametrize("value,word", [(np.nan, "NaN"), (np.inf, "infinite")])
@pytest.mark.parametrize("name", ["model.layers.2.mlp.down_proj.weight", "model.layers.0.input_layernorm.weight"])
def test_values_that_are_no_numbers(folder, tmp_path, name, value, word):
    def change(tensors):
        tensors[name].flat[17] = value
    change_tensors(folder, change)
    convert_fails(folder, tmp_path, 4, word)


@pytest.mark.parametrize("change,code,word", [
    (lambda c: c.update(model_type="mamba"), 5, "mamba"),
    (lambda c: c.pop("model_type"), 5, "model_type"),
    (lambda c: c["rope_parameters"].update(rope_type="ntk"), 5, "ntk"),
    (lambda c: c["rope_parameters"].update(rope_type="longrope"), 4, "short_factor"),
    (lambda c: c.update(hidden_act="relu6"), 5, "relu6"),
    (lambda c: c.update(num_key_value_heads=3), 4, "heads"),
    (lambda c: c.update(hidden_size="big"), 4, "hidden_size"),
    (lambda c: c.pop("intermediate_size"), 4, "intermediate_size"),
    (lambda c: c.update(layer_types=["linear_attention"] * 3), 5, "linear_attention"),
])
def test_configs_that_are_refused(folder, tmp_path, change, code, word):
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))
    convert_fails(folder, tmp_path, code, word)


@pytest.mark.parametrize("name,code", [("config.json", 3), ("tokenizer.json", 3), ("model.safetensors", 3)])
def test_missing_files(folder, tmp_path, name, code):
    (folder / name).unlink()
    convert_fails(folder, tmp_path, code, name)


@pytest.mark.parametrize("name,data", [("config.json", b"{\"a\": "), ("tokenizer.json", b"[]"),
                                       ("config.json", b"\xff{}")])
def test_malformed_files(folder, tmp_path, name, data):
    (folder / name).write_bytes(data)
    convert_fails(folder, tmp_path, 4)


def test_truncated_checkpoint(folder, tmp_path):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    convert_fails(folder, tmp_path, 4, "model.safetensors")


def test_template_that_does_not_parse(folder, tmp_path):
    (folder / "chat_template.jinja").write_text("{% for m in messages %}")
    convert_fails(folder, tmp_path, 4, "line 1")


def test_source_that_is_not_there(tmp_path):
    convert_fails(tmp_path / "nothing", tmp_path, 3, "nothing")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable_folder(folder, tmp_path):
    folder.chmod(0)
    convert_fails(folder, tmp_path, 3)
    folder.chmod(stat.S_IRWXU)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_full_disk_behind_stdout(tiny):
    with open("/dev/full", "wb") as full:
        result = subprocess.run([BIN, "inspect", str(tiny("qwen3"))], stdout=full, stderr=subprocess.PIPE)
    assert result.returncode == 7, result.stderr


def test_stale_part_is_replaced(folder, tmp_path):
    (tmp_path / "out.elm.part").write_bytes(b"stale")
    run("convert", folder, "-o", tmp_path / "out.elm")
    assert not (tmp_path / "out.elm.part").exists()
    run("verify", tmp_path / "out.elm")


@pytest.mark.parametrize("path", ["/dev/null", "/dev/full"])
def test_a_device_is_not_replaced_by_the_output(folder, path):
    assert "no regular file" in run("convert", folder, "-o", path, check=2).message
    assert stat.S_ISCHR(os.stat(path).st_mode) and not os.path.exists(path + ".part")


def test_a_folder_is_not_replaced_by_the_output(folder, tmp_path):
    assert "is a folder" in run("convert", folder, "-o", tmp_path, check=2).message


def test_progress_is_drawn_on_a_terminal_only(tmp_path):
    """Tensors, bytes, speed and the time that is left, on one line that is wiped at the end."""
    folder = tiny_models.write_folder(tmp_path / "big", "qwen3", config=dict(
        tiny_models.CONFIGS["qwen3"], vocab_size=20000), tensors=None)
    tensors = tiny_models.weights("qwen3")
    tensors["model.embed_tokens.weight"] = np.zeros((20000, 64), np.float32)
    tiny_models.write_safetensors(folder / "model.safetensors", tensors)
    assert "tensors" not in run("convert", folder, "-o", tmp_path / "a.elm").message
    parent, child = pty.openpty()
    process = subprocess.Popen([BIN, "convert", str(folder), "-o", str(tmp_path / "b.elm")], stdout=subprocess.PIPE,
                               stderr=child)
    os.close(child)
    seen = b""
    while True:
        try:
            piece = os.read(parent, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        seen += piece
    out, _ = process.communicate()
    os.close(parent)
    assert process.returncode == 0 and b"\033" not in out
    bars = re.findall(rb"(\d+)/(\d+) tensors  (\d+) of (\d+) MB  \d+ MB/s  (\d+) s left", seen)
    assert bars and bars[-1][0] == bars[-1][1] and bars[-1][4] == b"0", seen
    assert seen.rstrip().endswith(b"\r\x1b[K")


# ---- damaged files ----

def test_every_kind_of_damage_is_found(tiny, tmp_path):
    good = tiny("qwen3").read_bytes()
    rng = np.random.default_rng(1)
    for offset in [0, 9, 60, 4200, 65536 + 5, *rng.integers(65536, len(good), 40).tolist()]:
        bad = bytearray(good)
        bad[offset] ^= 1 << int(rng.integers(8))
        path = tmp_path / "bad.elm"
        path.write_bytes(bad)
        result = run("verify", path, check=None)
        assert result.returncode == 4, (offset, result.text, result.message)


def test_truncated_files(tiny, tmp_path):
    good = tiny("qwen3").read_bytes()
    for size in [0, 1, 8, 100, 4096, 65535, 65536, 100000, len(good) // 2, len(good) - 1]:
        path = tmp_path / "short.elm"
        path.write_bytes(good[:size])
        assert run("run", path, "-p", "x", check=None).returncode == 4


def test_a_flipped_weight_is_found_before_it_is_used(tiny, tmp_path):
    model = tiny("qwen3")
    sections = json.loads(run("inspect", model, "--json").text)["sections"]
    weights = next(s for s in sections if s["type"] == "weights")
    bad = bytearray(model.read_bytes())
    bad[weights["offset"] + weights["bytes"] // 2] ^= 4
    path = tmp_path / "bad.elm"
    path.write_bytes(bad)
    message = run("run", path, "-p", "x", "-n", "1", "--raw", check=4).message
    assert "weights" in message and "chunk" in message
    assert "tensor" in run("verify", path, check=4).text


def test_not_a_model(tmp_path):
    (tmp_path / "x.elm").write_bytes(b"hello" * 100000)
    assert "not an .elm" in run("inspect", tmp_path / "x.elm", check=4).message
    (tmp_path / "x.elm").write_bytes(b"GGUF\3\0\0\0")
    assert "'edge-llm convert' makes" in run("run", tmp_path / "x.elm", "-p", "a", check=4).message
    assert "'edge-llm convert' makes" in run("run", tmp_path, "-p", "a", check=4).message
    os.mkfifo(tmp_path / "pipe")
    assert "is a pipe" in run("inspect", tmp_path / "pipe", check=3).message
    run("inspect", tmp_path / "nothing.elm", check=3)


# ---- run, chat, tokenize ----

def test_run_is_greedy_and_repeatable(tiny):
    args = ("run", tiny("qwen3", "--quant", "f32"), "-p", "abc", "--temp", "0", "-n", "20", "--raw", "--ids")
    first = run(*args).text
    assert len(first.split()) <= 20 and first == run(*args).text
    assert first == run(*args, "--threads", "1").text == run(*args, "--threads", "3").text


def test_greedy_ids_are_the_argmax_of_eval(tiny, tmp_path):
    model = tiny("gemma3", "--quant", "int8")
    ids = [int(x) for x in run("run", model, "-p", "hello", "--temp", "0", "-n", "12", "--raw", "--ids").text.split()]
    prompt = [int(x) for x in run("tokenize", model, "-p", "hello").text.split()]
    rows = logits(model, prompt + ids[:-1], tmp_path)
    assert rows[len(prompt) - 1:].argmax(axis=1).tolist() == ids


def test_sampling_depends_on_the_seed_only(tiny):
    args = ("run", tiny("qwen3", "--quant", "f32"), "-p", "abc", "--temp", "5", "-n", "30", "--raw", "--ids")
    a = run(*args, "--seed", "1").text
    assert a == run(*args, "--seed", "1", "--threads", "1").text
    assert a != run(*args, "--seed", "2").text
    assert run(*args, "--seed", "1", "--top-k", "1").text == run(*args, "--temp", "0").text


def test_stop_string_is_not_shown(tiny):
    model = tiny("qwen3", "--quant", "f32")
    whole = run("run", model, "-p", "abc", "--temp", "0", "-n", "30", "--raw", "--json").text
    text = json.loads(whole)["text"]
    stop = next(c for c in text[3:] if c.isprintable())
    cut = json.loads(run("run", model, "-p", "abc", "--temp", "0", "-n", "30", "--raw", "--json", "--stop", stop).text)
    assert cut["text"] == text[:text.index(stop)] and cut["stop_reason"] == "stop"


def test_prompt_longer_than_the_context(tiny):
    assert "context" in run("run", tiny("qwen3"), "-p", "x" * 200, "--raw", "--ctx", "100", check=2).message


def test_prompt_from_stdin_and_file(tiny, tmp_path):
    model, args = tiny("qwen3"), ("--temp", "0", "-n", "5", "--raw", "--ids")
    (tmp_path / "p.txt").write_text("abc")
    expected = run("run", model, "-p", "abc", *args).text
    assert run("run", model, *args, stdin=b"abc").text == expected
    assert run("run", model, "-f", tmp_path / "p.txt", *args).text == expected


def test_bad_utf8_prompt(tiny):
    assert "byte 2" in run("run", tiny("qwen3"), "--raw", stdin=b"ab\xc3", check=4).message


def test_chat_over_a_pipe(tiny):
    result = run("chat", tiny("qwen3"), "--temp", "0", "-n", "8", stdin=b"hello\n/clear\nhello\n")
    assert result.stdout.count(b"\n") >= 2


def test_chat_template_is_applied(tiny, tmp_path):
    chat = tmp_path / "chat.json"
    chat.write_text(json.dumps({"messages": [{"role": "user", "content": "hi"}], "add_generation_prompt": True}))
    assert run("tokenize", tiny("qwen3"), "--chat", chat, "--render").text == "<user>hi\n<assistant>"
    ids = [int(x) for x in run("tokenize", tiny("qwen3"), "--chat", chat).text.split()]
    assert bytes(ids).decode() == "<user>hi\n<assistant>"


@pytest.mark.parametrize("zone,hours", [("UTC0", 0), ("EAST-13:30", 13.5), ("WEST+11", -11)])
def test_strftime_now_is_local(folder, tmp_path, monkeypatch, zone, hours):
    """A template that refuses with the time: every way to render shows the clock of TZ, without its name."""
    (folder / "chat_template.jinja").write_text("{{ raise_exception(strftime_now('<%Y-%m-%d %H:%M%%z%z%Z>')) }}")
    run("convert", folder, "-o", tmp_path / "m.elm")
    (tmp_path / "c.json").write_text('{"messages": [{"role": "user", "content": "x"}]}')
    monkeypatch.setenv("TZ", zone)
    for args in (
        ("run", tmp_path / "m.elm", "-p", "x"),
        ("tokenize", tmp_path / "m.elm", "--chat", tmp_path / "c.json"),
        ("template", folder / "chat_template.jinja", "--chat", tmp_path / "c.json"),
    ):
        shown = re.search(r"<(.*)%z>", run(*args, check=2).message).group(1)
        local = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=hours)
        late = local.replace(tzinfo=None) - datetime.datetime.strptime(shown, "%Y-%m-%d %H:%M")
        assert datetime.timedelta(0) <= late < datetime.timedelta(minutes=2), (args, shown)


def test_decode_is_exact(tiny):
    text = "h\u00e9llo \U0001f389\n"
    ids = run("tokenize", tiny("qwen3"), "-p", text).text.strip()
    assert run("tokenize", tiny("qwen3"), "--decode", ids).stdout == text.encode()


# ---- memory, backends ----

def test_memory_limit_is_hard(tiny):
    run("run", tiny("qwen3"), "-p", "x", "--raw", "-n", "1", "--memory", "1", check=6)


def test_backends(tiny):
    model, args = tiny("qwen3"), ("-p", "abc", "--temp", "0", "-n", "5", "--raw", "--ids")
    expected = run("run", model, *args).text
    assert run("run", model, *args, "--backend", "null").text == expected
    assert "no backend takes" in run("run", model, *args, "--backend", "null!", check=5).message
    assert "nosuch" in run("run", model, *args, "--backend", "nosuch", check=2).message


def test_inspect_forms(tiny):
    model = tiny("gemma3")
    assert "attention" in run("inspect", model, "--graph").text
    assert "| cpu |" in run("inspect", model, "--plan").text
    assert "int4" in run("inspect", model, "--tensors").text
    about = json.loads(run("inspect", model, "--json").text)
    tensors, lines = about["tensors"], run("inspect", model).text.splitlines()
    first = lines.index(next(line for line in lines if line.startswith("| context"))) + 2
    contexts = [int(line.split("|")[1]) for line in lines[first:lines.index("", first)]]
    assert contexts[-1] == about["context_length"] and contexts == sorted(set(contexts))
    assert all(t["rel_rms"] < 0.2 for t in tensors) and any(t["rel_rms"] > 0 for t in tensors)


# ---- usage ----

@pytest.mark.parametrize("args,word", [
    (("nosuch",), "nosuch"), (("run",), "usage"), (("run", "a", "b"), "usage"), (("run", "m", "--tmep", "1"), "--temp"),
    (("run", "m", "--temp", "x"), "number"), (("run", "m", "--temp"), "needs"), (("convert", "x"), "-o"),
    (("convert", "x", "-o", "y", "--quant", "int5"), "int5"), (("convert", "x", "-o", "y", "--group", "33"), "33"),
    (("eval", "m"), "--text"), (("bench", "m", "-o", "xml"), "xml"),
    (("bench", "m", "--threads", "1,x"), "not '1,x'"), (("bench", "m", "-p", "0", "-n", "0"), "nothing to measure"),
    (("template", "x"), "--chat"),
])
def test_usage_errors(args, word):
    assert word in run(*args, check=2).message


def test_what_this_version_does_not_have_is_said():
    assert "not in this version" in run("convert", "s", "-o", "o", "--calib", "text", check=5).message


@pytest.mark.parametrize("word,meant", [("ru", "run"), ("inspct", "inspect"), ("zzzzzz", "help")])
def test_commands_that_are_not_there(word, meant):
    assert f"'{meant}'" in run(word, check=2).message or "edge-llm help" in run(word, check=2).message
    assert f"no command '{word}'" in run("help", word, check=2).message


def commands():
    return re.findall(r"^  (\w+) +\S", run("help").text, re.M)


def options(command):
    return re.findall(r"^  (?:-\w, |    )--([\w-]+)", run("help", command).text, re.M)


def test_help_of_every_command_fits_and_names_its_options():
    assert {"convert", "run", "chat", "tokenize", "template", "eval", "bench", "inspect", "verify", "doctor", "version",
            "help", "completion"} <= set(commands())
    for command in commands():
        text = run("help", command).text
        assert text == run(command, "--help").text and "usage: edge-llm " + command in text
        assert {"help", "quiet"} <= set(options(command))
        assert ("json" in options(command)) == (command not in ("help", "completion"))
        assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "man"])
def test_completion_knows_every_command_and_option(shell, tmp_path):
    text = run("completion", shell).text.replace("\\-", "-")
    for command in commands():
        assert command in text
        for option in options(command):
            assert re.search(rf"(--|-l ){option}\b", text), (command, option)
    (tmp_path / "script").write_text(text)
    checker = {"bash": ["bash", "-n"], "zsh": ["zsh", "-n"], "fish": ["fish", "-n"]}.get(shell)
    if checker and shutil.which(checker[0]):
        subprocess.run([*checker, str(tmp_path / "script")], check=True)


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes(tmp_path):
    (tmp_path / "script").write_text(run("completion", "bash").text)
    line = (f". {tmp_path}/script; COMP_WORDS=(edge-llm run --te); COMP_CWORD=2; _edge_llm; echo ${{COMPREPLY[*]}};"
            "COMP_WORDS=(edge-llm con); COMP_CWORD=1; _edge_llm; echo ${COMPREPLY[*]}")
    found = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout
    assert found == "--temp\nconvert\n"


def test_help_version_doctor():
    assert "convert" in run("help").text and "usage" in run("help", "run").text and "usage" in run("run", "--help").text
    assert json.loads(run("version", "--json").text)["version"]
    assert any(b["name"] == "cpu" for b in json.loads(run("doctor", "--json").text)["backends"])


def test_bench_json(tiny):
    args = ("-p", "16", "-n", "4", "-r", "2", "--threads", "1,2", "-o", "json")
    rows = json.loads(run("bench", tiny("qwen3"), *args).text)
    assert [r["test"] for r in rows] == ["pp16", "tg4", "vf5"] * 2
    assert all(r["tok_s"]["min"] <= r["tok_s"]["median"] <= r["tok_s"]["max"] for r in rows)
    assert all(0 < r["bandwidth_share"] for r in rows if r["test"] == "tg4")
    assert all(1 < r["verify_steps"] * 5 for r in rows if r["test"] == "vf5")
    assert all(0 < r["peak_share"] and r["verify_steps"] is None for r in rows if r["test"] == "pp16")


def test_bench_formats_name_the_same_figures(tiny):
    args = ("-p", "16", "-n", "4", "-r", "1", "--threads", "1", "-d", "0,64", "--sustained", "0.002")
    tests = ["pp16", "tg4", "vf5"] * 2 + ["first-minute-tg4", "last-minute-tg4"]
    text = run("bench", tiny("qwen3"), *args).text
    table = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("|")]
    assert [row[0].strip() for row in table[2:]] == tests and len({len(row) for row in table}) == 1
    lines = list(csv.DictReader(run("bench", tiny("qwen3"), *args, "-o", "csv").text.splitlines()))
    assert [line["test"] for line in lines] == tests and all(None not in line.values() for line in lines)
    assert [line["depth"] for line in lines] == ["0"] * 3 + ["64"] * 3 + ["0"] * 2


def test_eval_perplexity_by_hand(tiny, tmp_path):
    model = tiny("qwen3", "--quant", "f32")
    text = "the quick brown fox jumps over the lazy dog " * 8
    (tmp_path / "t.txt").write_text(text)
    found = json.loads(run("eval", model, "--text", tmp_path / "t.txt", "--window", "64", "--json").text)
    ids = list(text.encode())
    nll = []
    for at in range(0, len(ids) - 63, 64):
        rows = logits(model, ids[at:at + 64], tmp_path).astype(np.float64)
        rows -= rows.max(axis=1, keepdims=True)
        logp = rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))
        nll += [-logp[i, ids[at + i + 1]] for i in range(32, 63)]
    assert found["tokens"] == len(nll)
    assert abs(found["nll_mean"] - np.mean(nll)) < 1e-6


# ---- outputs in the place of inputs ----

def test_no_command_writes_over_what_it_reads(tiny, tmp_path):
    """A session or logits in the place of the model, or of any other model, would lose it."""
    model, other, ids = tmp_path / "m.elm", tmp_path / "other.elm", tmp_path / "ids.txt"
    data = tiny("qwen3", "--quant", "f32").read_bytes()
    for path in (model, other):
        path.write_bytes(data)
    (tmp_path / "link.elm").symlink_to(model)
    ids.write_text("1 2 3")
    for target in (model, other, tmp_path / "link.elm"):
        run("run", model, "-p", "a", "-n", "1", "--save", target, check=2)
        run("chat", model, "-p", "a", "-n", "1", "--save", target, stdin=b"", check=2)
        assert "is a model" in run("chat", model, stdin=f"/save {target}\n".encode(), check=2).message
        run("eval", model, "--tokens", ids, "--logits", target, check=2)
    run("run", model, "-f", ids, "-n", "1", "--save", ids, check=2)
    run("eval", model, "--tokens", ids, "--logits", ids, check=2)
    assert model.read_bytes() == other.read_bytes() == data and ids.read_text() == "1 2 3"
    for _ in range(2):  # a session may be written anew
        run("run", model, "-p", "a", "-n", "1", "--save", tmp_path / "s")
    run("run", model, "-p", "a", "-n", "1", "--load", tmp_path / "s", "--save", tmp_path / "s")


def test_logits_appear_whole_or_not_at_all(tiny, tmp_path):
    model, ids, out = tiny("qwen3", "--quant", "f32"), tmp_path / "ids.txt", tmp_path / "l.npy"
    ids.write_text(" ".join(["1"] * 200))
    out.write_bytes(b"before")
    limited = subprocess.run(["bash", "-c", 'ulimit -f 20; exec "$@"', "-", BIN, "eval", model, "--tokens", ids,
                              "--logits", out], capture_output=True, timeout=60)
    assert limited.returncode == 7 and out.read_bytes() == b"before"
    assert not (tmp_path / "l.npy.part").exists()
    assert run("eval", model, "--tokens", ids, "--logits", "/dev/stdout").stdout.startswith(b"\x93NUMPY")


@pytest.mark.parametrize("options", [["--window", "2"], ["--window", "2", "--json"], ["--window", "8", "--skip", "7"]])
def test_a_window_that_predicts_nothing_is_a_mistake(tiny, tmp_path, options):
    (tmp_path / "t.txt").write_text("a" * 100)
    result = run("eval", tiny("qwen3", "--quant", "f32"), "--text", tmp_path / "t.txt", *options, check=2)
    assert "leaves nothing" in result.message and not result.stdout


# ---- text that is no text ----

@pytest.mark.parametrize("raw", [[], ["--raw"]])
def test_a_prompt_that_is_not_utf8_is_named_with_its_place(tiny, tmp_path, raw):
    model, file = tiny("qwen3", "--quant", "f32"), tmp_path / "p.txt"
    file.write_bytes(b"ab\xc3")
    assert "the prompt is not UTF-8 at byte 2" in run("run", model, "-f", file, *raw, check=4).message
    assert "the message is not UTF-8 at byte 1" in run("chat", model, stdin=b"a\xff\nb\n", check=4).message
    file.write_text("fine")
    bad = os.fsdecode(b"\xff")
    assert "--system is not UTF-8" in run("run", model, "-f", file, "--system", bad, check=4).message


def test_chat_begins_with_the_text_of_a_file(tiny, tmp_path):
    model, file = tiny("qwen3", "--quant", "f32"), tmp_path / "p.txt"
    file.write_text("hello")
    said = run("chat", model, "-f", file, "-n", "4", "--temp", "0", stdin=b"").stdout
    assert said and said == run("chat", model, "-p", "hello", "-n", "4", "--temp", "0", stdin=b"").stdout
    run("chat", model, "-f", file, "-p", "a", stdin=b"", check=2)
    run("chat", model, "-f", tmp_path / "nothing", stdin=b"", check=3)


# ---- contexts ----

def test_eval_takes_as_many_ids_as_the_model_was_made_for(tmp_path):
    config = dict(tiny_models.CONFIGS["mistral"], max_position_embeddings=8192, num_hidden_layers=1)
    tensors = tiny_models.tensors_of("mistral", config, tiny_models.shapes)
    run("convert", tiny_models.write_folder(tmp_path / "hf", "mistral", config, tensors), "-o", tmp_path / "m.elm")
    assert logits(tmp_path / "m.elm", [1] * 4200, tmp_path).shape == (4200, 256)
    (tmp_path / "ids.txt").write_text("1 " * 8193)
    arguments = ["eval", tmp_path / "m.elm", "--tokens", tmp_path / "ids.txt", "--logits", tmp_path / "l.npy"]
    assert "do not fit" in run(*arguments, check=2).message
    assert "made for 8192 positions" in run(*arguments, "--ctx", "8193").message
    assert not run(*arguments, "--ctx", "8193", "--quiet").message


# ---- JSON of the text commands ----

def test_json_of_tokenize_template_and_chat(tiny, tmp_path):
    model, chat, template = tiny("qwen3", "--quant", "f32"), tmp_path / "c.json", tmp_path / "t.jinja"
    text = 'a "quoted" \\ line\n\u202e \U0001F600'
    chat.write_text(json.dumps({"messages": [{"role": "user", "content": text}]}))
    template.write_text("{{ messages[0].content }}")
    said = json.loads(run("tokenize", model, "-p", text, "--json").stdout)
    assert said == {"schema_version": 1, "ids": list(text.encode())}
    assert json.loads(run("tokenize", model, "-p", "", "--json").stdout)["ids"] == []
    ids = " ".join(map(str, said["ids"]))
    assert json.loads(run("tokenize", model, "--decode", ids, "--json").stdout) == {"schema_version": 1, "text": text}
    assert json.loads(run("template", template, "--chat", chat, "--json").stdout)["text"] == text
    rendered = json.loads(run("tokenize", model, "--chat", chat, "--render", "--json").stdout)["text"]
    assert rendered == f"<user>{text}\n"
    assert json.loads(run("tokenize", model, "--chat", chat, "--json").stdout)["ids"] == list(rendered.encode())
    lines = run("chat", model, "--json", "-n", "3", "--temp", "0", stdin=b"a\nb\n").text.splitlines()
    answers = [json.loads(line) for line in lines]
    assert [a["generated_tokens"] for a in answers] == [3, 3] and all(a["message"]["content"] for a in answers)
    assert answers[1]["reused_tokens"] < answers[1]["prompt_tokens"] and answers[1]["decode_ms"] < 1000
    once = json.loads(run("run", model, "-p", "a", "--json", "-n", "3", "--temp", "0").stdout)
    assert answers[0]["text"] == once["text"] and answers[0].keys() == once.keys()


@pytest.mark.parametrize("args", [["help", "--json"], ["completion", "bash", "--json"], ["version", "--threads", "2"]])
def test_options_that_mean_nothing_to_a_command_are_not_offered(args):
    run(*args, check=2)
    assert args[-1] not in run(args[0], "--help").text or args[-1] == "2"


def test_tokenize_knows_a_model_by_its_content(tiny, tmp_path):
    shutil.copy(tiny("qwen3", "--quant", "f32"), tmp_path / "model")
    assert run("tokenize", tmp_path / "model", "-p", "ab").text == "97 98\n"
    (tmp_path / "broken.elm").write_bytes(b"ELM?")
    assert "not an .elm file" in run("tokenize", tmp_path / "broken.elm", "-p", "ab", check=4).message


# ---- numbers that overflow ----

@pytest.fixture
def loud(tmp_path):
    """Keys beyond what f16 holds."""
    tensors = tiny_models.weights("qwen2")
    for name in tensors:
        if name.endswith("k_proj.bias"):
            tensors[name] = tensors[name] * np.float32(1e6)
    folder = tiny_models.write_folder(tmp_path / "hf", "qwen2", None, tensors)
    run("convert", folder, "-o", tmp_path / "loud.elm", "--quant", "int8")
    return tmp_path / "loud.elm"


@pytest.mark.parametrize("options", [[], ["--temp", "0"], ["--draft", "lookup"]])
def test_an_overflow_is_an_error_and_no_text(loud, options):
    result = run("run", loud, "--raw", "-p", "ababab", "-n", "3", *options, check=8)
    assert "NaN" in result.message and "--kv f32" in result.message
    assert run("run", loud, "--raw", "-p", "ababab", "-n", "3", "--ids", "--kv", "f32", *options).text


def test_a_perplexity_that_overflows_is_an_error(loud, tmp_path):
    (tmp_path / "t.txt").write_text("some text " * 20)
    arguments = ["eval", loud, "--text", tmp_path / "t.txt", "--window", "64", "--json"]
    assert not run(*arguments, check=8).stdout
    assert json.loads(run(*arguments, "--kv", "f32").stdout)["perplexity"] > 0


@pytest.mark.parametrize("content,word", [
    ("hello", "tools.json:1: expected a value"), ("", "tools.json:1: the text ends"), ('{"a": 1}', "no JSON list"),
    ('[], "messages": []', "tools.json:1: expected")])
def test_a_file_of_tools_that_holds_none_is_named(tiny, tmp_path, content, word):
    model, tools = tiny("qwen3", "--quant", "f32"), tmp_path / "tools.json"
    tools.write_text(content)
    assert word in run("run", model, "-p", "a", "-n", "1", "--tools", tools, check=4).message
    tools.write_bytes(b"\xef\xbb\xbf[]\n")
    run("run", model, "-p", "a", "-n", "1", "--tools", tools)
