#!/usr/bin/env python3
"""Every header compiles alone; the public ones also as C++."""
import pathlib
import shutil
import subprocess
import sys


# Bodies that are compiled once for each instruction set, behind the header that defines its vectors.
BODIES = {"backend/cpu/kernels_float.h", "backend/cpu/kernels_attention.h", "backend/cpu/kernels_delta.h"}


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    errors = []
    for path in sorted((root / "src").rglob("*.h")) + sorted((root / "include").glob("*.h")):
        base = root / ("include" if path.parent.name == "include" else "src")
        if "arm" in path.parts or "x86" in path.parts or str(path.relative_to(base)) in BODIES:
            continue  # headers of one instruction set compile on that machine only
        name = path.relative_to(base)
        source = f'#include "{name}"\n#include "{name}"\ntypedef int elm_not_empty;\n'
        languages = [("c", "gcc", "c11")]
        if path.parent.name == "include" and shutil.which("g++"):
            languages.append(("c++", "g++", "c++11"))
        for language, compiler, std in languages:
            command = [compiler, "-x", language, f"-std={std}", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wpedantic",
                       "-Werror", "-fsyntax-only", f"-I{root}/src", f"-I{root}/include", "-"]
            result = subprocess.run(command, input=source, text=True, capture_output=True)
            if result.returncode:
                errors.append(f"{name} does not compile alone as {language}:\n{result.stderr}")
    print("\n".join(errors) if errors else "headers: each compiles alone")
    return 1 if errors else 0


sys.exit(main())
