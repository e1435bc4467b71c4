#!/usr/bin/env bash
# cppcheck and clang-tidy over src, with the compile commands of build/. Ends with exit code 1 on any finding.
# Clang-tidy does not see what is not compiled here: the kernels of another machine.
set -euo pipefail
cd "$(dirname "$0")/.."
cmake -S . -B build -DEDGE_LLM_TESTS=ON >/dev/null
scripts/cppcheck.sh
sed -n 's/^ *"file": "\(.*\)",*$/\1/p' build/compile_commands.json | grep "^$PWD/src/" | sort -u |
    xargs -P "$(nproc)" -n 8 clang-tidy -p build --quiet 2>/dev/null
