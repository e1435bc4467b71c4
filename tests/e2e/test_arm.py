"""The static aarch64 program under qemu computes the same bits as this machine: NEON with i8mm (-cpu max), with dotprod
(neoverse-n1) and without (cortex-a57), INT4, INT8 and floats, every KV type."""
import shutil
import subprocess

import numpy as np
import pytest
from conftest import ROOT, logits, tiny_models

PROGRAM = ROOT / "build-aarch64" / "edge-llm"
QEMU = shutil.which("qemu-aarch64-static")

pytestmark = [
    pytest.mark.skipif(QEMU is None, reason="qemu-aarch64-static is not installed"),
    pytest.mark.skipif(not PROGRAM.exists(), reason="build-aarch64/edge-llm is not built (make cross)"),
]


@pytest.mark.parametrize("cpu", ["max", "neoverse-n1", "cortex-a57"])
@pytest.mark.parametrize("name,options,kv", [
    ("qwen3", ("--quant", "int4"), "int8"),
    ("llama_odd", ("--quant", "int4", "--zero-point"), "f16"),
    ("gemma3", ("--quant", "int8"), "f16"),
    ("qwen3", ("--quant", "int8", "--zero-point"), "int8"),
    ("mistral", ("--quant", "f32"), "f32"),
    ("llama3", ("--quant", "bf16"), "f16"),
])
def test_same_bits_as_here(tiny, tmp_path, name, options, kv, cpu):
    model = tiny(name, *options)
    ids = tiny_models.prompt(name)[:59]  # not a multiple of four: the rest runs token by token
    here = logits(model, ids, tmp_path, "--kv", kv)
    out = tmp_path / "arm.npy"
    command = [QEMU, "-cpu", cpu, str(PROGRAM), "eval", str(model), "--tokens", str(tmp_path / "ids.txt"), "--logits",
               str(out), "--kv", kv, "--threads", "2"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert np.array_equal(np.load(out).view(np.uint32), here.view(np.uint32))
