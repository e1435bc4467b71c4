"""A file that can be trusted, from the command line: killed conversions, products, signatures, mending, SIGBUS."""
import json
import os
import pathlib
import resource
import shutil
import subprocess
import time

import numpy as np
import gguf_files
import pytest
from conftest import BIN, run, tiny_models
from test_second_reader import elm_reader, put, reseal

SOAK = bool(os.environ.get("EDGE_LLM_SOAK"))
TOOL = pathlib.Path(BIN).parent / "tools" / "product_tool"
WHOLE = '{"backend": "cpu", "whole": true, "sdk": "2.30", "options": {"ctx": 4096}}'


@pytest.fixture
def folder(tmp_path):
    return tiny_models.write_folder(tmp_path / "hf", "qwen3")


@pytest.fixture
def model(tiny, tmp_path):
    return pathlib.Path(shutil.copy(tiny("qwen3"), tmp_path / "model.elm"))


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make keys with")
    folder = tmp_path_factory.mktemp("keys")
    for name in ("a", "b"):
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", folder / f"{name}.pem"], check=True)
        subprocess.run(["openssl", "pkey", "-in", folder / f"{name}.pem", "-pubout", "-out", folder / f"{name}.pub"],
                       check=True)
    probe = run("verify", "/dev/null", "--key", folder / "a.pub", check=None)
    if "libcrypto" in probe.message:
        pytest.skip("built without libcrypto")
    return folder


def add_product(model, target, record=WHOLE, blob="blob", *key):
    subprocess.run([TOOL, model, target, record, blob, *key], check=True, stdout=subprocess.DEVNULL)


def can_trace():
    if not shutil.which("strace"):
        return False
    return subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True).returncode == 0


def traced(inject, *args):
    return subprocess.run(["strace", "-f", "-o", "/dev/null", "-e", f"inject={inject}", BIN, *map(str, args)],
                          capture_output=True).returncode


def left_over(folder):
    return sorted(p.name for p in folder.glob("*.part*"))


# ---- convert ----

@pytest.mark.skipif(not can_trace(), reason="strace may not trace here")
def test_killed_at_twenty_points_and_resumed(folder, tmp_path):
    run("convert", folder, "-o", tmp_path / "whole.elm")
    whole = (tmp_path / "whole.elm").read_bytes()
    out = tmp_path / "out.elm"
    points = range(1, 60) if SOAK else range(1, 60, 3)
    n_resumed = 0
    for when in points:
        traced(f"pwrite64:signal=KILL:when={when}", "convert", folder, "-o", out, "--threads", 1)
        if not out.exists():
            message = run("convert", folder, "-o", out, "--resume").message
            n_resumed += "going on after" in message
        assert out.read_bytes() == whole
        assert left_over(tmp_path) == []
        out.unlink()
    assert n_resumed >= len(points) - 3


@pytest.mark.skipif(not can_trace(), reason="strace may not trace here")
@pytest.mark.parametrize("call", ["pwrite64", "fdatasync", "rename", "ftruncate", "fallocate"])
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_errors_of_the_system_leave_nothing(folder, tmp_path, call, error):
    out = tmp_path / "out.elm"
    out.write_bytes(b"before")
    for when in (1, 2, 20):
        code = traced(f"{call}:error={error}:when={when}", "convert", folder, "-o", out, "--threads", 1)
        assert code in (0, 7)
        if code != 0:
            assert out.read_bytes() == b"before"
        assert left_over(tmp_path) == []


@pytest.mark.skipif(not can_trace(), reason="strace may not trace here")
@pytest.mark.parametrize("name,code", [("INT", 130), ("TERM", 143)])
def test_signals_clean_up(folder, tmp_path, name, code):
    out = tmp_path / "out.elm"
    assert traced(f"pwrite64:signal={name}:when=9", "convert", folder, "-o", out, "--threads", 1) == code
    assert list(tmp_path.glob("out.elm*")) == []


def test_resume_refuses_other_options_and_sources(folder, tmp_path):
    if not can_trace():
        pytest.skip("strace may not trace here")
    out = tmp_path / "out.elm"
    traced("pwrite64:signal=KILL:when=30", "convert", folder, "-o", out, "--threads", 1)
    before = (tmp_path / "out.elm.part").read_bytes()
    assert "--resume" in run("convert", folder, "-o", out, "--resume", "--quant", "int8", check=2).message
    (folder / "generation_config.json").write_text('{"temperature": 0.5}')
    run("convert", folder, "-o", out, "--resume", check=2)
    assert (tmp_path / "out.elm.part").read_bytes() == before
    run("convert", folder, "-o", out)
    assert left_over(tmp_path) == []


def test_space_is_asked_for_first(folder, tmp_path):
    message = run("convert", folder, "-o", tmp_path / "out.elm").message
    assert "MB needed" in message and "MB free" in message
    used = (tmp_path / "out.elm").stat()
    assert used.st_blocks * 512 <= used.st_size + 65536  # what was set aside and not used is given back


@pytest.mark.skipif(not can_trace(), reason="strace may not trace here")
def test_a_file_system_that_cannot_set_room_aside(folder, tmp_path):
    run("convert", folder, "-o", tmp_path / "whole.elm")
    assert traced("fallocate:error=EOPNOTSUPP", "convert", folder, "-o", tmp_path / "out.elm") == 0
    assert (tmp_path / "out.elm").read_bytes() == (tmp_path / "whole.elm").read_bytes()


def test_a_limit_on_the_size_of_files(folder, tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))
    result = subprocess.run([BIN, "convert", folder, "-o", tmp_path / "out.elm"], capture_output=True, text=True,
                            preexec_fn=limit)
    assert result.returncode == 7 and "out.elm" in result.stderr.splitlines()[-1], result.stderr
    assert list(tmp_path.glob("out.elm*")) == []


def test_the_source_is_never_written_over(folder, tmp_path):
    gguf = tmp_path / "m.gguf"
    gguf_files.write(gguf, "qwen3", lambda tensor: "F32")
    (tmp_path / "same.gguf").hardlink_to(gguf)
    before = gguf.read_bytes()
    for out in (gguf, tmp_path / "same.gguf"):
        assert "another path" in run("convert", gguf, "-o", out, check=2).message
    (tmp_path / "x.elm.part").symlink_to(gguf)
    run("convert", folder, "-o", tmp_path / "x.elm", check=3)  # a link in the place of PATH.part is not followed
    assert gguf.read_bytes() == before
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        before = (folder / name).read_bytes()
        assert "another path" in run("convert", folder, "-o", folder / name, check=2).message
        assert (folder / name).read_bytes() == before
    run("convert", folder, "-o", folder / "out.elm")
    run("convert", folder, "-o", folder / "out.elm")
    assert "already" in run("convert", folder / "out.elm", "-o", tmp_path / "x.elm", check=4).message


@pytest.mark.parametrize("out,code,word", [("", 2, "empty"), (".", 2, "folder"), ("none/x.elm", 3, "none/x.elm"),
                                           ("x" * 300, 3, "name"), ("file/x.elm", 3, "file/x.elm")])
def test_where_nothing_can_be_written(folder, tmp_path, out, code, word):
    (tmp_path / "file").write_text("")
    result = subprocess.run([BIN, "convert", folder, "-o", out], capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == code and word in result.stderr.splitlines()[-1], result.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "hf"]


# ---- provenance ----

def test_provenance_is_the_sources(folder, tmp_path):
    import hashlib
    out = tmp_path / "out.elm"
    run("convert", folder, "-o", out, "--quant", "int8", "--group", "32")
    p = json.loads(run("inspect", out, "--json").text)["provenance"]
    for name in ("config.json", "tokenizer.json"):
        assert p["source"]["sha256"][name] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    data = (folder / "model.safetensors").read_bytes()
    header = data[:8 + int.from_bytes(data[:8], "little")]
    (weights,) = p["source"]["weights"]
    assert weights["bytes"] == len(data)
    assert weights["header_sha256"] == hashlib.sha256(header).hexdigest()
    step = (len(data) - 4096) // 63
    samples = b"".join(data[i * step:i * step + 4096] for i in range(64))
    assert weights["samples_sha256"] == hashlib.sha256(samples).hexdigest()
    assert p["options"]["linear"] == "int8:32" and p["converter_version"]
    assert str(tmp_path).encode() not in out.read_bytes()


# ---- products ----

def test_products_come_and_go(model, tmp_path, tiny):
    before = model.read_bytes()
    answer = run("run", model, "-p", "abc", "--temp", "0", "-n", "8", "--raw", "--ids").text
    add_product(model, "cpu:a")
    add_product(model, "qualcomm:sm8750")
    run("verify", model)
    assert run("run", model, "-p", "abc", "--temp", "0", "-n", "8", "--raw", "--ids").text == answer
    listed = json.loads(run("inspect", model, "--json").text)["products"]
    assert [p["target"] for p in listed] == ["cpu:a", "qualcomm:sm8750"]
    assert all(not p["valid"] and "not signed" in p["reason"] for p in listed)
    assert listed[0]["record"]["sdk"] == "2.30"
    assert "not made on this machine" in run("inspect", model).text
    run("strip", model, "-o", tmp_path / "one.elm", "--keep", "cpu:a")
    kept = json.loads(run("inspect", tmp_path / "one.elm", "--json").text)["products"]
    assert [p["target"] for p in kept] == ["cpu:a"]
    run("strip", model, "-o", tmp_path / "none.elm")
    assert (tmp_path / "none.elm").read_bytes() == before
    assert "cpu:x" in run("strip", model, "-o", tmp_path / "x.elm", "--keep", "cpu:x", check=2).message
    run("compact", model)
    run("verify", model)
    small = tmp_path / "small.elm"
    run("strip", model, "-o", small, "--keep", "cpu:a", "--no-fallback")
    run("verify", small)
    assert small.stat().st_size < model.stat().st_size
    assert "stripped" in run("run", small, "-p", "abc", check=5).message
    inspected = run("inspect", small, check=5)
    assert "cpu:a" in inspected.text and "stripped" in inspected.message


def test_made_here(model):
    machine = pathlib.Path("/etc/machine-id")
    if not machine.exists() or len(machine.read_text().strip()) < 32:
        pytest.skip("this machine has no id")
    add_product(model, "cpu:a", WHOLE, "blob", machine.read_text().strip())
    (product,) = json.loads(run("inspect", model, "--json").text)["products"]
    assert product["valid"], product


def test_attach_takes_only_what_fits(model, tiny, tmp_path):
    elsewhere = pathlib.Path(shutil.copy(model, tmp_path / "elsewhere.elm"))
    add_product(elsewhere, "qualcomm:sm8750")
    assert "1 product added" in run("attach", model, elsewhere).text
    before = model.read_bytes()
    assert "1 there already" in run("attach", model, elsewhere).text
    assert model.read_bytes() == before
    other = pathlib.Path(shutil.copy(tiny("qwen3", "--quant", "int8"), tmp_path / "other.elm"))
    message = run("attach", other, elsewhere, check=4).message
    assert "other weights" in message and "compile" in message
    assert "no product" in run("attach", model, other, check=4).message


def test_read_only_file_still_runs(model):
    add_product(model, "cpu:a")
    model.chmod(0o444)
    run("run", model, "-p", "abc", "--temp", "0", "-n", "2", "--raw")
    if os.geteuid() != 0:
        run("compact", model, check=3)


def test_compact_keeps_permissions(model):
    add_product(model, "cpu:a")
    model.chmod(0o600)
    run("compact", model)
    assert model.stat().st_mode & 0o777 == 0o600


# ---- signatures ----

def test_signed_and_verified(model, keys, tmp_path):
    assert "not signed" in run("verify", model, "--key", keys / "a.pub", check=4).message
    assert "1 signature added" in run("sign", model, "--key", keys / "a.pem").text
    run("verify", model, "--key", keys / "a.pub")
    run("verify", model, "--key", keys / "b.pub", check=4)
    before = model.read_bytes()
    assert "1 there already" in run("sign", model, "--key", keys / "a.pem").text
    said = json.loads(run("sign", model, "--key", keys / "a.pem", "--json").text)
    assert said["schema_version"] == 1 and (said["added"], said["there_already"]) == (0, 1) and len(said["key"]) == 16
    assert model.read_bytes() == before
    add_product(model, "cpu:a")
    out = run("verify", model, "--key", keys / "a.pub").text
    assert "signed by this key" in out and "not signed" in out
    run("sign", model, "--key", keys / "a.pem")
    assert "valid, trusted" in run("verify", model, "--key", keys / "a.pub").text
    (product,) = json.loads(run("inspect", model, "--json", "--key", keys / "a.pub").text)["products"]
    assert product["valid"]
    run("compact", model)
    run("strip", model, "-o", tmp_path / "s.elm")
    for path in (model, tmp_path / "s.elm"):
        run("verify", path, "--key", keys / "a.pub")


def test_wrong_keys(model, keys, tmp_path):
    (tmp_path / "rsa.pem").write_bytes(subprocess.run(["openssl", "genrsa", "1024"], capture_output=True).stdout)
    (tmp_path / "junk.pem").write_text("junk")
    assert "Ed25519" in run("sign", model, "--key", tmp_path / "rsa.pem", check=4).message
    assert "PEM" in run("sign", model, "--key", tmp_path / "junk.pem", check=4).message
    assert "pubout" in run("verify", model, "--key", keys / "a.pem", check=4).message
    run("sign", model, "--key", tmp_path / "none.pem", check=3)
    run("sign", model, check=2)


def test_no_tampered_file_is_accepted(model, keys, tmp_path):
    run("sign", model, "--key", keys / "a.pem")
    good = model.read_bytes()
    rng = np.random.default_rng(5)
    for at in rng.integers(0, len(good), 400 if SOAK else 40).tolist():
        bad = bytearray(good)
        bad[at] ^= 1 << int(rng.integers(8))
        (tmp_path / "bad.elm").write_bytes(bad)
        run("verify", tmp_path / "bad.elm", "--key", keys / "a.pub", check=4)


# ---- mending ----

def test_mends_from_another_copy(model, tmp_path):
    good = model.read_bytes()
    bad = bytearray(good)
    for at in (65536 + 3, 300000, len(good) - 200000):
        bad[at] ^= 0x40
    damaged = tmp_path / "damaged.elm"
    damaged.write_bytes(bad)
    run("verify", damaged, check=4)
    report = json.loads(run("verify", damaged, "--repair-from", model, "--json").text)
    assert len(report["mended"]) >= 2 and report["intact"]
    assert damaged.read_bytes() == good
    damaged.write_bytes(good[:-5000])
    assert "came from the other copy" in run("verify", damaged, "--repair-from", model).text
    assert damaged.read_bytes() == good
    damaged.write_bytes(b"something else" * 10000)
    run("verify", damaged, "--repair-from", model, check=4)


def test_damaged_slot_opens_and_is_reported(model):
    add_product(model, "cpu:a")
    data = bytearray(model.read_bytes())
    data[100] ^= 1  # the slot of generation 1
    model.write_bytes(data)
    result = run("inspect", model)
    assert "slot A" in result.message and "damaged" in result.message
    answer = ("run", model, "-p", "abc", "--temp", "0", "-n", "2", "--raw")
    (warning,) = [line for line in run(*answer).message.splitlines() if "warning" in line]
    assert "slot A" in warning and warning.startswith("edge-llm: warning: ")
    assert "warning" not in run(*answer, "--quiet").message
    chat = subprocess.run([BIN, "chat", model, "-n", "2"], input="hello\n", capture_output=True, text=True, check=True)
    assert chat.stderr.count("warning: header slot A") == 1
    assert "section header" in run("verify", model, check=4).text


# ---- diff ----

def test_diff(model, tiny, tmp_path):
    same = pathlib.Path(shutil.copy(model, tmp_path / "same.elm"))
    assert "0 different" in run("diff", model, same).text
    add_product(same, "cpu:a")
    assert "section cpu:a: only in the second" in run("diff", model, same, check=1).text
    d = json.loads(run("diff", model, tiny("qwen3", "--quant", "int8"), "--json", check=1).text)
    kinds = {(x["kind"], x["name"]): x["difference"] for x in d["differences"]}
    assert "int4" in kinds[("tensor", "layers.0.self_attn.qkv.weight")]
    assert ("tensor", "model.norm.weight") not in kinds and d["same"] > 10
    assert kinds[("meta", "options.linear")] == '"int4:32" against "int8:64"'
    assert ("meta", "vocab_size") not in kinds


def with_meta(model, change):
    """The same file with other text in META, of the same length, behind good checksums."""
    data = bytearray(model.read_bytes())
    file = elm_reader.File(bytes(data))
    meta = file.find(1)
    text = change(bytes(data[meta["offset"]:meta["offset"] + meta["size"]]))
    assert len(text) == meta["size"]
    put(data, meta["offset"], text)
    reseal(data, file)
    model.write_bytes(data)


def test_text_of_a_file_does_not_move_the_cursor(model, tiny):
    """A stranger's file is looked at in a terminal: escape sequences come out as '?'."""
    def change(text):
        begin = text.index(b'"config.json": "') + 16
        return text[:begin] + b"\\u001b[31m\\u009b32m\\u0007".ljust(64, b"x") + text[begin + 64:]
    with_meta(model, change)
    for command in (["inspect", model], ["diff", model, tiny("qwen3")], ["diff", tiny("qwen3"), model, "--json"]):
        out = run(*command, check=None).stdout
        assert b"?[31m" in out or b"\\u001b[31m" in out
        assert not any(c in out.decode() for c in ("\x1b\x07" if "--json" in command else "\x1b\x07\x9b"))


# ---- a file that changes under the program ----

def test_t5_file_cut_off_while_mapped(model):
    """The file is cut after it was opened and before its weights are read: a message and exit code 4, not a crash."""
    process = subprocess.Popen([BIN, "chat", str(model), "--temp", "0", "-n", "4"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    maps = pathlib.Path(f"/proc/{process.pid}/maps")
    deadline = time.time() + 20
    while "model.elm" not in maps.read_text() and time.time() < deadline:
        time.sleep(0.01)
    time.sleep(0.5)  # the small sections have been read; now it waits for a line
    os.truncate(model, 65536)
    _, message = process.communicate(b"hello\n", timeout=60)
    assert process.returncode == 4, message
    assert b"changed while it was in use" in message
