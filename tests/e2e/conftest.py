"""Shared by the end-to-end tests: the program under test, tiny models, and the reason for every skip."""
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "golden"))
import tiny_models  # noqa: E402

BIN = os.environ.get("EDGE_LLM_BIN", str(ROOT / "build" / "edge-llm"))
SHARED = ROOT.parent / "shared"


def run(*args, stdin=None, check=0, timeout=300):
    """Runs edge-llm; `check` is the exit code that is expected (None: any)."""
    result = subprocess.run([BIN, *map(str, args)], input=stdin, capture_output=True, timeout=timeout)
    result.text = result.stdout.decode("utf-8", "replace")
    result.message = result.stderr.decode("utf-8", "replace")
    if check is not None:
        assert result.returncode == check, f"exit {result.returncode}, expected {check}: {args}\n{result.message}"
    return result


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """tiny(name, *convert options) -> path of a converted tiny model; made once a session."""
    made = {}

    def make(name, *options):
        key = (name, *options)
        if key not in made:
            folder = tmp_path_factory.mktemp(name)
            tiny_models.write_folder(folder / "hf", name)
            made[key] = folder / "model.elm"
            run("convert", folder / "hf", "-o", made[key], *options)
        return made[key]

    return make


def logits(model, ids, folder, *options):
    """float32 [n][vocab] from eval."""
    tokens, out = folder / "ids.txt", folder / "logits.npy"
    tokens.write_text(" ".join(map(str, ids)))
    run("eval", model, "--tokens", tokens, "--logits", out, *options)
    return np.load(out)


def relative_rms(found, expected):
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    return float(np.sqrt(((found - expected) ** 2).sum() / (expected**2).sum()))
