#!/usr/bin/env bash
# cppcheck and clang-tidy over src, with the compile commands of build/. Ends with exit code 1 on any finding. What is not
# compiled here, the kernels of other instruction sets, clang-tidy does not see.
set -euo pipefail
cd "$(dirname "$0")/.."
cmake -S . -B build -DEDGE_LLM_TESTS=ON >/dev/null
scripts/cppcheck.sh
python3 -c 'import json; print(*sorted({c["file"] for c in json.load(open("build/compile_commands.json"))}), sep="\n")' |
    grep "^$PWD/src/" | xargs -P "$(nproc)" -n 8 clang-tidy -p build --quiet 2>/dev/null
