#!/usr/bin/env bash
# The test suites. Without arguments: all of them, ending in one plain line "N passed, N failed".
# With arguments: lint unit cross python asan tsan, any of them.
set -uo pipefail
cd "$(dirname "$0")/.."
suites=("$@")
[ ${#suites[@]} -gt 0 ] || suites=(lint unit cross python asan tsan)
jobs=$(nproc)
passed=0 failed=0 skipped=0
generator=(); command -v ninja >/dev/null 2>&1 && generator=(-G Ninja)

note() { printf '\n== %s ==\n' "$*"; }
ok() { passed=$((passed + 1)); }
bad() { failed=$((failed + 1)); printf 'FAILED: %s\n' "$*"; }

# build DIR TARGETS... -- CMAKE_ARGS...
build() {
    local dir=$1; shift
    local targets=()
    while [ $# -gt 0 ] && [ "$1" != -- ]; do targets+=(--target "$1"); shift; done
    [ $# -gt 0 ] && shift
    cmake "${generator[@]}" -S . -B "$dir" "$@" >"$dir.log" 2>&1 &&
        cmake --build "$dir" -j "$jobs" "${targets[@]}" >>"$dir.log" 2>&1 && { rm -f "$dir.log"; return 0; }
    tail -n 60 "$dir.log"
    return 1
}

# Runs every test program of a build; each cmocka test counts.
run_programs() {
    local dir=$1 pattern=$2 prefix=${3:-} program output code n
    for program in "$dir"/tests/$pattern; do
        [ -x "$program" ] || continue
        output=$(CMOCKA_MESSAGE_OUTPUT=TAP timeout 300 $prefix "$program" 2>&1); code=$?
        n=$(grep -cE '^ok ' <<<"$output"); passed=$((passed + n))
        skipped=$((skipped + $(grep -cE '^ok .*# SKIP' <<<"$output")))
        n=$(grep -cE '^not ok ' <<<"$output")
        if [ "$n" -gt 0 ] || [ $code -ne 0 ]; then
            failed=$((failed + (n > 0 ? n : 1)))
            printf '%s (exit %d)\n%s\n' "$program" "$code" "$(tail -n 40 <<<"$output")"
        fi
    done
}

suite_lint() {
    local check
    for check in scripts/check_*.py; do
        if python3 "$check"; then ok; else bad "$check"; fi
    done
}

suite_unit() {
    if build build -- -DEDGE_LLM_TESTS=ON; then
        if python3 scripts/symbols.py build; then ok; else bad "exported symbols"; fi
        if python3 scripts/hardening.py build/edge-llm; then ok; else bad "hardening"; fi
        if python3 scripts/spills.py build; then ok; else bad "spills in inner loops"; fi
        run_programs build '*'
    else
        bad "build"
    fi
}

suite_python() {
    build build -- -DEDGE_LLM_TESTS=ON || { bad "build"; return; }
    if [ ! -x build/venv/bin/pytest ]; then
        python3 -m venv build/venv && build/venv/bin/pip install -q -r tests/requirements.txt ||
            { bad "python environment"; return; }
    fi
    local output code
    output=$(EDGE_LLM_BIN=$PWD/build/edge-llm build/venv/bin/pytest -q -rs --tb=short tests/e2e 2>&1); code=$?
    printf '%s\n' "$output" | tail -n 60
    passed=$((passed + $(grep -oE '[0-9]+ passed' <<<"$output" | tail -n 1 | grep -oE '[0-9]+' || echo 0)))
    skipped=$((skipped + $(grep -oE '[0-9]+ skipped' <<<"$output" | tail -n 1 | grep -oE '[0-9]+' || echo 0)))
    local n; n=$(grep -oE '[0-9]+ (failed|error)' <<<"$output" | awk '{s += $1} END {print s + 0}')
    if [ "$n" -gt 0 ]; then failed=$((failed + n)); elif [ $code -ne 0 ]; then bad "pytest (exit $code)"; fi
}

suite_asan() {
    if build build-asan -- -DEDGE_LLM_TESTS=ON -DCMAKE_BUILD_TYPE=Debug \
        -DEDGE_LLM_SANITIZE=address,undefined; then
        run_programs build-asan '*'
    else
        bad "sanitizer build"
    fi
}

suite_tsan() {
    # Only what shares memory between threads: the pool, sessions of one model, lazy checks, conversion.
    local file targets=()
    for file in tests/unit/*/test_*thread*.c tests/unit/{elm/test_container,convert/test_convert}.c; do
        file=${file#tests/} && file=${file%.c} && targets+=("${file//\//_}")
    done
    if build build-tsan "${targets[@]}" -- -DEDGE_LLM_TESTS=ON -DCMAKE_BUILD_TYPE=Debug -DEDGE_LLM_SANITIZE=thread; then
        for file in "${targets[@]}"; do run_programs build-tsan "$file"; done
    else
        bad "thread sanitizer build"
    fi
}

suite_cross() {
    if build build-device -- -DEDGE_LLM_HOST=OFF; then ok; else bad "device half alone"; fi
    if python3 scripts/pages.py build-device/libedge_llm.so; then ok; else bad "16 KiB pages"; fi
    if ! command -v aarch64-linux-gnu-gcc >/dev/null; then
        echo "no aarch64-linux-gnu-gcc: skipped"; skipped=$((skipped + 1)); return
    fi
    # The python suite runs this program under qemu and compares its logits with ours, bit for bit.
    if build build-aarch64 edge-llm kernel_test_cpu_kernels kernel_test_delta_kernels -- -DEDGE_LLM_STATIC=ON \
        -DEDGE_LLM_TESTS=ON -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64-linux-gnu.cmake; then
        ok
        if python3 scripts/arm_counts.py build-aarch64; then ok; else bad "instructions of inner loops (aarch64)"; fi
        if python3 scripts/spills.py build-aarch64; then ok; else bad "spills in inner loops (aarch64)"; fi
    else
        bad "static aarch64"; return
    fi
    if command -v qemu-aarch64-static >/dev/null; then # every set of ARM kernels against C
        run_programs build-aarch64 'kernel_*' 'qemu-aarch64-static -cpu max'
    else
        echo "no qemu-aarch64-static: kernel tests skipped"; skipped=$((skipped + 1))
    fi
}

for suite in "${suites[@]}"; do
    note "$suite"
    start=$SECONDS
    "suite_$suite"
    printf '%s: %d s\n' "$suite" $((SECONDS - start))
done
printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ]
