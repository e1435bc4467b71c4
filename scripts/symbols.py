#!/usr/bin/env python3
"""usage: symbols.py BUILD - the shared object exports exactly the functions that the public headers declare."""
import pathlib
import re
import subprocess
import sys


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    library = pathlib.Path(sys.argv[1]) / "libedge_llm.so"
    declared = set()
    for name in ["edge_llm.h", "edge_llm_types.h"]:
        text = re.sub(r"/\*.*?\*/", " ", (root / "include" / name).read_text(), flags=re.S)
        text = re.sub(r"^\s*#.*$", "", text, flags=re.M)
        for match in re.finditer(r"ELM_API[^;{]*?(\w+)\s*\(", text):
            declared.add(match.group(1))
    output = subprocess.run(["nm", "-D", "--defined-only", str(library)], capture_output=True, text=True, check=True)
    exported = {line.split()[-1] for line in output.stdout.splitlines() if line.split()[-2] in "TDBRVW"}
    missing, extra = declared - exported, exported - declared
    for name in sorted(missing):
        print(f"{name} is declared and not exported")
    for name in sorted(extra):
        print(f"{name} is exported and in no public header")
    if not missing and not extra:
        print(f"symbols: {len(exported)} exported, all declared")
    return 1 if missing or extra else 0


sys.exit(main())
