"""kill -9 before every call of the system that a writing command makes: what is left is the old file or the new one,
and the same command, given again, ends as if nothing had been. `make test` takes a seeded sample, `make soak` all of it
and 500 points of a larger model."""
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import BIN, ROOT, run, tiny_models
from test_trust import TOOL, WHOLE, add_product, keys  # noqa: F401

import gguf_files

SOAK = bool(os.environ.get("EDGE_LLM_SOAK"))
SAMPLE = 8
FAMILIES = ["qwen3", "gemma3", "qwen35", "qwen3_moe", "gemma4_e4b", "gguf"]
# A call before which a file is other than before the call in front of it.
CHANGING = {"pwrite64", "ftruncate", "fallocate", "fdatasync", "fsync", "rename", "unlink", "openat", "fchmod"}


def can_trace():
    if not shutil.which("strace"):
        return False
    return subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(not can_trace(), reason="strace may not trace here")


def calls_of(log, *args):
    """[(system call, how often)] of a program; strace counts every one for itself when it injects."""
    subprocess.run(["strace", "-f", "-c", "-S", "name", "-U", "name,calls", "-o", log, *map(str, args)], check=True,
                   capture_output=True)
    rows = [line.split() for line in pathlib.Path(log).read_text().splitlines()]
    return [(r[0], int(r[1])) for r in rows if len(r) == 2 and r[1].isdigit() and r[0] != "total"]


def is_killed(point, program):
    """Runs `program` and kills it before its n-th call of that name; whether it came that far."""
    name, n = point
    code = subprocess.run(["strace", "-f", "-o", "/dev/null", "-e", f"inject={name}:signal=KILL:when={n}",
                           *map(str, program)], capture_output=True).returncode
    return code != 0


def sweep(log, make, program, check, n_points=None):
    """`make` sets the scene, `check(killed)` looks at what is left."""
    make()
    points = [(name, n) for name, count in calls_of(log, *program) for n in range(1, count + 1)]
    rng = random.Random(len(points))
    if n_points or not SOAK:
        points = rng.sample(points, min(n_points or SAMPLE, len(points)))
    n_killed = n_changing = 0
    for point in points:
        make()
        killed = is_killed(point, program)
        n_killed += killed
        n_changing += killed and point[0] in CHANGING
        try:
            check(killed)
        except AssertionError as e:
            raise AssertionError(f"killed before call {point[1]} of {point[0]}") from e
    print(f"{len(points)} points, {n_killed} killed, {n_changing} at calls that change a file")
    assert n_killed > len(points) / 2


def remove(*paths):
    for path in paths:
        path.unlink(missing_ok=True)


def source_of(family, folder):
    if family != "gguf":
        return tiny_models.write_folder(folder / "hf", family)
    gguf_files.write(folder / "m.gguf", "qwen3", lambda tensor: "F32")
    return folder / "m.gguf"


def beside(out):
    return out.with_name(out.name + ".part"), out.with_name(out.name + ".part.journal")


@pytest.mark.parametrize("family", FAMILIES)
def test_convert(tmp_path, family):
    convert_killed(tmp_path, source_of(family, tmp_path), [])


@pytest.mark.skipif(not SOAK, reason="make soak kills it 500 times")
def test_convert_of_a_larger_model(tmp_path):
    subprocess.run([sys.executable, ROOT / "bench" / "make_model.py", "smollm2-135m", tmp_path / "hf", "--layers", "3"],
                   check=True, stdout=subprocess.DEVNULL)
    convert_killed(tmp_path, tmp_path / "hf", ["--quant", "int8"], 500)


def convert_killed(folder, source, options, n_points=None):
    out = folder / "out.elm"
    program = [BIN, "convert", source, "-o", out, "--threads", 1, *options]
    run(*program[1:])
    whole = out.read_bytes()

    def make():
        remove(out, *beside(out))
        out.write_bytes(b"before")

    def check(killed):
        found = out.read_bytes()
        assert found == whole or (killed and found == b"before")
        run(*program[1:], "--resume")
        assert out.read_bytes() == whole
        assert not any(p.exists() for p in beside(out))

    sweep(folder / "log", make, program, check, n_points)


def test_resume(tmp_path):
    """Killed while it goes on after a kill."""
    source, out = source_of("qwen3", tmp_path), tmp_path / "out.elm"
    first = [BIN, "convert", source, "-o", out, "--threads", 1]
    run(*first[1:])
    whole = out.read_bytes()
    remove(out)
    assert is_killed(("pwrite64", 30), first)
    left = [p.read_bytes() for p in beside(out)]

    def make():
        remove(out)
        for path, data in zip(beside(out), left):
            path.write_bytes(data)

    def check(killed):
        assert out.read_bytes() == whole if out.exists() else killed
        run(*first[1:], "--resume")
        assert out.read_bytes() == whole
        assert not any(p.exists() for p in beside(out))

    sweep(tmp_path / "log", make, [*first, "--resume"], check)


@pytest.fixture
def model(tiny, tmp_path):
    return pathlib.Path(shutil.copy(tiny("qwen3"), tmp_path / "model.elm"))


@pytest.mark.parametrize("what", ["append", "replace", "attach"])
def test_products(model, tmp_path, what):
    elsewhere = pathlib.Path(shutil.copy(model, tmp_path / "elsewhere.elm"))
    add_product(elsewhere, "cpu:b", blob="three")
    if what == "replace":
        add_product(model, "cpu:b", blob="two")
    before = model.read_bytes()
    n_before = 1 if what == "replace" else 0
    program = [BIN, "attach", model, elsewhere] if what == "attach" else [TOOL, model, "cpu:b", WHOLE, "three"]

    def make():
        model.write_bytes(before)

    def check(killed):
        products = json.loads(run("inspect", model, "--json").text)["products"]
        assert len(products) == 1 or (killed and len(products) == n_before)
        if not killed or n_before == 0 and products:
            assert b"three" in model.read_bytes()
        run("verify", model)
        subprocess.run(list(map(str, program)), check=True, capture_output=True)
        assert len(json.loads(run("inspect", model, "--json").text)["products"]) == 1
        assert b"three" in model.read_bytes()
        run("verify", model)

    sweep(tmp_path / "log", make, program, check)


def test_append_to_a_larger_model(tmp_path):
    if not SOAK:
        pytest.skip("make soak kills it")
    source, model = tmp_path / "hf", tmp_path / "model.elm"
    subprocess.run([sys.executable, ROOT / "bench" / "make_model.py", "smollm2-135m", source], check=True,
                   stdout=subprocess.DEVNULL)
    run("convert", source, "-o", model, "--quant", "int8")
    shutil.rmtree(source)
    size, head = model.stat().st_size, model.read_bytes()[:65536]

    def make():
        os.truncate(model, size)
        with model.open("r+b") as f:
            f.write(head)

    def check(killed):
        products = json.loads(run("inspect", model, "--json").text)["products"]
        assert len(products) == 1 or (killed and not products)
        run("verify", model)

    sweep(tmp_path / "log", make, [TOOL, model, "cpu:b", WHOLE, "blob" * 20000], check)


@pytest.mark.parametrize("what", ["compact", "strip"])
def test_copies(model, tmp_path, what):
    add_product(model, "cpu:a", blob="one")
    add_product(model, "cpu:a", blob="two")
    source, out = model.read_bytes(), tmp_path / "out.elm"
    if what == "compact":
        program, result, before = [BIN, "compact", model], model, source
    else:
        program, result, before = [BIN, "strip", model, "-o", out], out, b"before"
    subprocess.run(list(map(str, program)), check=True, capture_output=True)
    after = result.read_bytes()
    assert len(after) < len(source)

    def make():
        remove(*beside(result))
        model.write_bytes(source)
        result.write_bytes(before)

    def check(killed):
        assert result.read_bytes() == after or (killed and result.read_bytes() == before)
        assert model.read_bytes() == source or result == model
        subprocess.run(list(map(str, program)), check=True, capture_output=True)
        assert result.read_bytes() == after
        assert not any(p.exists() for p in beside(result))

    sweep(tmp_path / "log", make, program, check)


def test_sign(model, tmp_path, keys):  # noqa: F811
    before = model.read_bytes()
    program = [BIN, "sign", model, "--key", keys / "a.pem"]

    def make():
        model.write_bytes(before)

    def check(killed):
        signed = run("verify", model, "--key", keys / "a.pub", check=None)
        assert signed.returncode == 0 or (killed and "not signed" in signed.message), signed.message
        run(*program[1:])
        run("verify", model, "--key", keys / "a.pub")

    sweep(tmp_path / "log", make, program, check)


@pytest.mark.parametrize("damage", ["chunks", "tail", "slot"])
def test_mending(model, tmp_path, damage):
    good = model.read_bytes()
    other = tmp_path / "other.elm"
    other.write_bytes(good)
    bad = bytearray(good)
    if damage == "chunks":
        for at in range(65536 + 3, len(good), len(good) // 9):
            bad[at] ^= 0x40
    elif damage == "tail":
        bad = bad[:-5000]
    else:
        bad[90] ^= 1
    program = [BIN, "verify", model, "--repair-from", other]

    def make():
        model.write_bytes(bad)

    def check(killed):
        now = model.read_bytes()
        assert killed or now == good
        n = min(len(now), len(bad))
        found, was, right = (np.frombuffer(data, np.uint8, n) for data in (now, bad, good))
        assert ((found == was) | (found == right)).all()  # nothing that was good is worse
        run(*program[1:])
        assert model.read_bytes() == good
        assert other.read_bytes() == good

    sweep(tmp_path / "log", make, program, check)
