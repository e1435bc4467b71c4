#!/usr/bin/env bash
# Speed tables of this machine: models of known shapes with random weights, all threads and one, all the processor has.
# FOLDER (build/bench) keeps the models; about 2 GB. BENCH_SHAPES chooses others of bench/make_model.py, BENCH_ARGS adds
# options of `edge-llm bench`, as "-r 1 -n 16 -p 64" for a quick look.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${FOLDER:-build/bench}
threads=1
[ "$(nproc)" -gt 1 ] && threads=1,$(nproc)
mkdir -p "$folder"
for shape in ${BENCH_SHAPES:-qwen3-0.6b}; do
    for scheme in int4 int8; do
        model=$folder/$shape-$scheme.elm
        if [ ! -f "$model" ]; then
            [ -f "$folder/$shape/model.safetensors" ] || python3 bench/make_model.py "$shape" "$folder/$shape"
            build/edge-llm convert "$folder/$shape" -o "$model" --quant "$scheme" --embed "$scheme" -q
        fi
        printf '\n## %s %s\n\n' "$shape" "$scheme"
        build/edge-llm bench "$model" --threads "$threads" -d 0,2048,8192 --kv int8 ${BENCH_ARGS:-}
    done
done
