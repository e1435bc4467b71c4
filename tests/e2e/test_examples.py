"""The examples build against an installation, both ways, and do what they say."""
import os
import shutil
import subprocess

import pytest
from conftest import BIN, ROOT, run

BUILD = os.path.dirname(BIN)


def sh(*args, env=None, stdin=None, code=0):
    result = subprocess.run([str(a) for a in args], input=stdin, capture_output=True, timeout=300,
                            env={**os.environ, **(env or {})})
    assert result.returncode == code, result.stderr.decode()[-2000:]
    return result.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    if not os.path.exists(os.path.join(BUILD, "cmake_install.cmake")):
        pytest.skip("the program under test lies in no build folder")
    prefix = tmp_path_factory.mktemp("prefix")
    sh("cmake", "--install", BUILD, "--prefix", prefix)
    return prefix


def library_folder(prefix):
    return next(prefix.glob("lib*/**/edge_llm.pc")).parent.parent


@pytest.fixture(scope="module")
def examples(installed, tmp_path_factory):
    """The programs, built with CMake."""
    build = tmp_path_factory.mktemp("examples")
    sh("cmake", "-S", ROOT / "examples", "-B", build, f"-DCMAKE_PREFIX_PATH={installed}",
       "-DCMAKE_C_FLAGS=-Wall -Wextra -Werror")
    sh("cmake", "--build", build)
    return build


@pytest.mark.skipif(shutil.which("pkg-config") is None, reason="no pkg-config")
def test_pkg_config_builds_them(installed, tmp_path):
    env = {"PKG_CONFIG_PATH": str(library_folder(installed) / "pkgconfig")}
    flags = sh("pkg-config", "--cflags", "--static", "--libs", "edge_llm", env=env).decode().split()
    for name in ["ask", "chat", "complete"]:
        source = ROOT / "examples" / f"{name}.c"
        sh("cc", "-std=c11", "-Wall", "-Wextra", "-Werror", source, *flags, "-o", tmp_path / name)
        sh(tmp_path / name, code=2, env={"LD_LIBRARY_PATH": str(library_folder(installed))})


@pytest.mark.skipif(shutil.which("pkg-config") is None, reason="no pkg-config")
def test_convert_is_what_the_program_makes(installed, examples, tiny, tmp_path):
    env = {"PKG_CONFIG_PATH": str(library_folder(installed) / "pkgconfig")}
    flags = sh("pkg-config", "--cflags", "--libs", "edge_llm_convert", env=env).decode().split()
    sh("cc", "-std=c11", "-Wall", "-Wextra", "-Werror", ROOT / "examples" / "convert.c", *flags, "-o",
       tmp_path / "convert")
    model = tiny("qwen3_untied", "--quant", "int8")
    for program in (examples / "convert", tmp_path / "convert"):
        assert b"parameters" in sh(program, model.parent / "hf", tmp_path / "out.elm", "int8")
        assert (tmp_path / "out.elm").read_bytes() == model.read_bytes()
    sh(examples / "convert", tmp_path / "nothing", tmp_path / "out.elm", code=3)
    sh(examples / "convert", model, code=2)


def test_pages_say_what_the_program_says(installed):
    for kind, path in {"man": "man/man1/edge-llm.1", "bash": "bash-completion/completions/edge-llm",
                       "fish": "fish/vendor_completions.d/edge-llm.fish",
                       "zsh": "zsh/site-functions/_edge-llm"}.items():
        assert (installed / "share" / path).read_bytes() == run("completion", kind).stdout, kind


def test_ask(examples, tiny):
    model = tiny("qwen3_untied", "--quant", "int8")
    sh(examples / "ask", model, "hello")
    sh(examples / "ask", model, code=2)
    sh(examples / "ask", examples / "nothing.elm", "hello", code=3)


def test_chat_goes_on_where_it_was(examples, tiny, tmp_path):
    model, history = tiny("qwen3_untied", "--quant", "int8"), tmp_path / "history"
    sh(examples / "chat", model, history, stdin=b"one\n")
    assert history.exists()
    sh(examples / "chat", model, history, stdin=b"two\n")
    sh(examples / "chat", tiny("gemma3", "--quant", "int8"), history, stdin=b"three\n", code=2)


def test_complete_is_what_run_says(examples, tiny):
    model = tiny("gemma3", "--quant", "int8")
    out = sh(examples / "complete", model, stdin=b"abc\nabd\n\nhello there\n").split(b"\n")
    said = run("run", model, "--raw", "-p", "abc", "-n", "64", "--stop", "\n").stdout
    assert out[0] == b"abc" + said.split(b"\n")[0]
    assert [line[:3] for line in out[:3]] == [b"abc", b"abd", b"hel"]
