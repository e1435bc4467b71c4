"""One test a row of the threat table in docs/reliability.md, against the program as a stranger's file meets it. Those
of T5 (a file cut while it is mapped) and T15 stand where their tools are: test_trust.py, test_tokenizer_hf.py."""
import json
import os
import pathlib
import resource
import shutil
import struct
import subprocess

import pytest
from conftest import BIN, run, tiny_models
from test_trust import TOOL, add_product

MEMORY = 64 << 20  # what opening a hostile file of at most a megabyte may take, program and all
SECONDS = 5        # the bar is one; this machine is shared


def refused(*args, codes=(4, 5, 9), memory=MEMORY):
    """Ends with one of the codes and a message, in bounded time and memory; the message."""
    def limit():
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    result = subprocess.run([BIN, *map(str, args)], capture_output=True, timeout=SECONDS, preexec_fn=limit)
    message = result.stderr.decode("utf-8", "replace")
    assert result.returncode in codes, (result.returncode, message)
    assert message.startswith("edge-llm: ") and message.count("\n") == 1, message
    return message


@pytest.fixture
def folder(tmp_path):
    return tiny_models.write_folder(tmp_path / "hf", "qwen3")


@pytest.fixture
def model(tiny, tmp_path):
    return pathlib.Path(shutil.copy(tiny("qwen3"), tmp_path / "model.elm"))


def safetensors(header, data=b""):
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    return struct.pack("<Q", len(text)) + text + data


def gguf(n_tensors, n_values, rest, version=3):
    return b"GGUF" + struct.pack("<IQQ", version, n_tensors, n_values) + rest


def name(text):
    return struct.pack("<Q", len(text)) + text


ALIGNMENT = name(b"general.alignment") + struct.pack("<I", 4)


def weights(folder, data):
    (folder / "model.safetensors").write_bytes(data)
    return ("convert", folder, "-o", folder / "out.elm")


def from_gguf(tmp_path, data):
    (tmp_path / "m.gguf").write_bytes(data)
    return ("convert", tmp_path / "m.gguf", "-o", tmp_path / "out.elm")


@pytest.mark.parametrize("data", [
    gguf(1, 0, name(b"t") + struct.pack("<I", 0xffffffff)),                                  # n_dims
    gguf(1, 0, name(b"t") + struct.pack("<IQQIQ", 2, 1 << 62, 8, 0, 0)),                     # count * size
    gguf(1, 0, struct.pack("<Q", (1 << 64) - 1) + b"t" * 64),                                # length of a string
    gguf(0, 1, name(b"a") + struct.pack("<IIQ", 9, 10, 1 << 61) + b"x" * 64),                # array of 2^61 u64
    gguf((1 << 63) // 24, 0, b"x" * 64),
    gguf(1, (1 << 64) - 1, b"x" * 64),
], ids=range(6))
def test_t01_header_arithmetic(tmp_path, data):
    refused(*from_gguf(tmp_path, data))


@pytest.mark.parametrize("shape", [[1 << 40, 1 << 40], [1 << 62, 4], [(1 << 63) - 1, 3], [1 << 32, 1 << 32]],
                         ids=range(4))
def test_t02_sizes_of_exabytes_in_a_small_file(folder, tmp_path, shape):
    header = {"model.embed_tokens.weight": {"dtype": "F32", "shape": shape, "data_offsets": [0, 64]}}
    refused(*weights(folder, safetensors(header, b"x" * 64)))
    dims = struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", d) for d in shape)
    refused(*from_gguf(tmp_path, gguf(1, 0, name(b"t") + dims + struct.pack("<IQ", 0, 0) + b"x" * 256)))


@pytest.mark.parametrize("value", [0, 3, 1 << 31, (1 << 32) - 1])
def test_t03_alignment_of_any_number(tmp_path, value):
    tensor = name(b"t") + struct.pack("<IQIQ", 1, 8, 0, 0)
    message = refused(*from_gguf(tmp_path, gguf(1, 1, ALIGNMENT + struct.pack("<I", value) + tensor + b"x" * 128)))
    assert "alignment" in message


@pytest.mark.parametrize("token", ["<0x-1>", "<0x100>", "<0xG0>", "<0x>"])
def test_t03_byte_tokens_of_no_byte(tmp_path, token):
    """They are ordinary tokens, and no byte is made of them."""
    vocabulary = {"<unk>": 0, token: 1, "a": 2, "\u00e9": 3} | {f"<0x{i:02X}>": 4 + i for i in range(256)}
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"added_tokens": [], "decoder": {"type": "ByteFallback"}, "model": {
        "type": "BPE", "byte_fallback": True, "unk_token": "<unk>", "vocab": vocabulary, "merges": []}}))
    assert run("tokenize", path, "--decode", "1").text == token
    assert run("tokenize", path, "-p", "\x01\xff").text.split() == [str(4 + b) for b in "\x01\xff".encode()]


def test_t04_small_files_stay_small(folder, tmp_path):
    refused(*from_gguf(tmp_path, gguf(1 << 62, 0, b"x" * 19)))  # the 43 bytes that hang gguf-py
    refused(*from_gguf(tmp_path, gguf(0, 1, name(b"a") + struct.pack("<IIQ", 9, 9, 1 << 30) + b"\0" * 1000)))
    many = {f"t{i}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for i in range(15000)}
    refused(*weights(folder, safetensors(many)))
    refused(*weights(folder, struct.pack("<Q", 1 << 40) + b"{}"))
    (folder / "model.safetensors").unlink()
    (folder / "config.json").write_text("[" * 1000000)
    refused("convert", folder, "-o", tmp_path / "out.elm")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_t04_a_pipe_is_not_waited_for(folder, tmp_path, name):
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert name in refused("convert", folder, "-o", tmp_path / "out.elm", codes=(3,))
    for command in ("run", "inspect", "verify"):
        assert "pipe" in refused(command, folder / name, codes=(3,))


def test_t05_cut_at_any_length(model):
    good = model.read_bytes()
    lengths = [*range(0, 200, 13), 4095, 4096, 8191, 8192, 65535, 65536, len(good) // 2, len(good) - 1]
    for length in lengths:
        model.write_bytes(good[:length])
        refused("run", model, "-p", "a", "--raw")


@pytest.mark.parametrize("source", [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}", "{{ self.__init__.__globals__ }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}", "{{ lipsum.__globals__['os'] }}",
    "{{ messages.__class__ }}", "{{ raise_exception.__code__ }}", "{{ range.__self__ }}"])
def test_t06_a_template_reaches_no_host_object(tmp_path, source):
    (tmp_path / "t.jinja").write_text(source)
    (tmp_path / "c.json").write_text('{"messages": [{"role": "user", "content": "x"}]}')
    result = run("template", tmp_path / "t.jinja", "--chat", tmp_path / "c.json", check=None)
    assert result.returncode in (0, 2, 4, 5) and result.text.strip() == "", result.text


@pytest.mark.parametrize("piece", ["(", "[", "{", "not ", "-", "a if ", "a(", "a[", "a|d("])
def test_t07_a_megabyte_of_nesting(tmp_path, piece):
    (tmp_path / "t.jinja").write_text("{{ " + piece * (1000000 // len(piece)))
    (tmp_path / "c.json").write_text("{}")
    # A long chain is not deep: then it is the memory that ends it, 6.
    refused("template", tmp_path / "t.jinja", "--chat", tmp_path / "c.json", codes=(4, 5, 6, 9),
            memory=MEMORY + (16 << 20))


@pytest.mark.parametrize("option", ["-n", "--ctx", "--seed", "--top-k", "--threads", "--temp", "--top-p"])
@pytest.mark.parametrize("value", ["-1", str(-1 << 63), str(1 << 63), "4294967297e9", "nan", "1x", ""])
def test_t08_numbers_of_a_request(model, option, value):
    """Every number is read whole and lies in its range, or the request is refused; none is cut to fit."""
    result = run("run", model, "-p", "a", "--raw", "-n", "1", option, value, check=None, timeout=20)
    assert result.returncode in (0, 2), result.message
    if value in ("nan", "1x", "", str(-1 << 63), str(1 << 63)):
        assert result.returncode == 2 and result.message.startswith("edge-llm: ")


def test_t09_the_converter_leaks_no_memory_into_its_output(folder, tmp_path):
    data = (folder / "model.safetensors").read_bytes()
    refused(*weights(folder, data[:-1]))
    refused(*weights(folder, data[:len(data) // 2]))
    assert not (folder / "out.elm").exists() and not list(folder.glob("*.part*"))
    (folder / "model.safetensors").write_bytes(data)
    outputs = []
    for perturb in ("0", "85", "170"):  # what glibc fills fresh and freed memory with
        subprocess.run([BIN, "convert", folder, "-o", tmp_path / "o.elm"], check=True, capture_output=True,
                       env=dict(os.environ, MALLOC_PERTURB_=perturb))
        outputs.append((tmp_path / "o.elm").read_bytes())
    assert outputs[0] == outputs[1] == outputs[2]


@pytest.mark.parametrize("shard", ["../secret.safetensors", "/etc/passwd", "a/../../b", ".hidden", "x\0y"])
def test_t10_no_path_out_of_the_folder(folder, shard):
    (folder / "model.safetensors").rename(folder.parent / "secret.safetensors")
    index = {"weight_map": {"model.embed_tokens.weight": shard}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "folder" in refused("convert", folder, "-o", folder / "out.elm")


def test_t14_verification_cannot_be_left_out(model):
    """A product's blob is hashed before anyone gets it; weights are checked when they are read, always."""
    add_product(model, "cpu:a", '{"backend": "cpu", "whole": true}', "blob" * 100)
    good = model.read_bytes()
    at = good.rindex(b"blob" * 100)
    model.write_bytes(good[:at] + b"X" + good[at + 1:])
    (product,) = json.loads(run("inspect", model, "--json").text)["products"]
    assert not product["valid"]
    assert "product" in run("verify", model, check=4).text
    middle = len(good) // 2
    model.write_bytes(good[:middle] + bytes(4096) + good[middle + 4096:])
    assert "damaged" in run("run", model, "-p", "abc", "--raw", "-n", "4", check=4).message


def test_t16_right_length_and_a_tail_of_zeros(model):
    good = model.read_bytes()
    for lost in (1, 4096, 100000, len(good) // 2):
        model.write_bytes(good[:-lost] + bytes(lost))
        if model.read_bytes() == good:
            continue
        assert "damaged" in refused("run", model, "-p", "abc", "--raw", "-n", "4")
        refused("verify", model, codes=(4,))


def test_t17_a_product_converges(model, tiny, tmp_path):
    """The same product again writes nothing; one of other weights is never taken."""
    record = '{"backend": "cpu", "whole": true}'
    add_product(model, "cpu:a", record, "blob")
    once = model.read_bytes()
    for _ in range(3):
        subprocess.run([TOOL, model, "cpu:a", record, "blob"], check=True, stdout=subprocess.DEVNULL)
    assert model.read_bytes() == once
    add_product(model, "cpu:a", record, "newer blob")  # another driver: replaced once
    sizes = model.stat().st_size
    add_product(model, "cpu:a", record, "newer blob")
    assert model.stat().st_size == sizes
    assert len(json.loads(run("inspect", model, "--json").text)["products"]) == 1
    other = pathlib.Path(shutil.copy(tiny("qwen3", "--quant", "int8"), tmp_path / "other.elm"))
    run("attach", other, model, check=4)
