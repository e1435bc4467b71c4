#!/usr/bin/env bash
# Installs the Debian packages that building and testing need. Runs as root, or with sudo where it is there.
# Packages that are installed already cost nothing.
set -euo pipefail
packages=(gcc g++ clang make cmake ninja-build python3 python3-venv xz-utils
          libcmocka-dev libpcre2-dev libedit-dev libssl-dev strace valgrind libclang-rt-14-dev
          gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static)
missing=()
for p in "${packages[@]}"; do
    dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing+=("$p")
done
if [ ${#missing[@]} -eq 0 ]; then exit 0; fi
sudo=; [ "$(id -u)" -eq 0 ] || sudo=sudo
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -q
$sudo apt-get install -y -q --no-install-recommends "${missing[@]}"
