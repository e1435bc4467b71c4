"""Drives build/tools/graph_tool: the rows of any value of any graph of a file (tests/tools/graph_tool.c)."""
import pathlib
import struct
import subprocess

import numpy as np
from conftest import BIN, relative_rms

TOOL = str(pathlib.Path(BIN).parent / "tools" / "graph_tool")


def rows(model, tokens, graph="text", value="output", backend="ref!", hidden=None, chunk=64, hold=0):
    """float32 [n][width] of the value called `value`."""
    width = 0 if hidden is None else hidden.shape[1]
    data = struct.pack("<I", len(tokens)) + np.asarray(tokens, np.int32).tobytes() + struct.pack("<I", width)
    if hidden is not None:
        data += np.ascontiguousarray(hidden, np.float32).tobytes()
    result = subprocess.run([TOOL, str(model), backend, graph, value, str(chunk), str(hold)], input=data,
                            capture_output=True, timeout=600)
    assert result.returncode == 0, result.stderr.decode()
    (width,) = struct.unpack_from("<I", result.stdout)
    return np.frombuffer(result.stdout, np.float32, offset=4).reshape(len(tokens), width)


def pages(model, tokens):
    """Pages in memory of the tables that are stored row by row, after a run over `tokens`; None where the system keeps
    the file in memory."""
    data = struct.pack("<I", len(tokens)) + np.asarray(tokens, np.int32).tobytes() + struct.pack("<I", 0)
    result = subprocess.run([TOOL, "--pages", str(model), "cpu!", "text", "output", "64", "0"], input=data,
                            capture_output=True, timeout=600)
    assert result.returncode == 0, result.stderr.decode()
    counts = {"before": 0, "after": 0}
    for line in result.stderr.decode().splitlines():
        when, _, rest = line.split(": ")
        counts[when] += int(rest.split()[0])
    return counts["after"] if counts["before"] == 0 else None


def first_wrong_layer(model, tokens, layers, backend, bar):
    """Where a model leaves the reference: `layers` is what every layer gives at the last position."""
    for layer, expected in enumerate(layers):
        for value in (f"layers.{layer}.layer_scalar", f"layers.{layer}.mlp_residual"):
            try:
                found = rows(model, tokens, value=value, backend=backend)[-1]
            except AssertionError:
                continue
            error = relative_rms(found, expected)
            if not error < bar:
                return f"layer {layer} is the first wrong one: {value} is off by {error:.2g}"
            break
    return "all layers are right: what is behind them is wrong"
