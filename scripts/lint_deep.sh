#!/usr/bin/env bash
# cppcheck and clang-tidy over src, with the compile commands of build/. Ends with exit code 1 on any finding.
set -euo pipefail
cd "$(dirname "$0")/.."
cmake -S . -B build -DEDGE_LLM_TESTS=ON >/dev/null
scripts/cppcheck.sh
files=$(find src -name '*.c' ! -path '*/arm64/*' ! -path '*/aarch64/*' | sort)
printf '%s\n' $files | xargs -P "$(nproc)" -n 8 clang-tidy -p build --quiet 2>/dev/null
