#!/usr/bin/env bash
# Runs every fuzz target for FUZZ_SECONDS (default 60), starting from its committed corpus.
set -euo pipefail
cd "$(dirname "$0")/.."
generator=(); command -v ninja >/dev/null 2>&1 && generator=(-G Ninja)
CC=clang cmake "${generator[@]}" -S . -B build-fuzz -DEDGE_LLM_FUZZ=ON -DCMAKE_BUILD_TYPE=Debug \
    -DEDGE_LLM_SANITIZE=address,undefined >/dev/null
cmake --build build-fuzz -j "$(nproc)" >/dev/null
for program in build-fuzz/fuzz/*; do
    [ -x "$program" ] && [ -f "$program" ] || continue
    name=$(basename "$program")
    mkdir -p "build-fuzz/corpus/$name"
    seeds=(); [ -d "tests/fuzz/corpus/$name" ] && seeds=("tests/fuzz/corpus/$name")
    echo "== $name"
    "$program" -max_total_time="${FUZZ_SECONDS:-60}" -timeout=5 -rss_limit_mb=1024 -max_len=65536 \
        -print_final_stats=1 "build-fuzz/corpus/$name" "${seeds[@]}" 2>&1 | grep -E 'stat::|ERROR|SUMMARY|BINGO' || true
    [ "${PIPESTATUS[0]}" -eq 0 ]
done
