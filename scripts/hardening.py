#!/usr/bin/env python3
"""Hardening of a built program: PIE, RELRO, BIND_NOW, no executable stack, no segment both writable and executable,
stack protector and FORTIFY in use. Usage: hardening.py build/edge-llm"""
import re
import subprocess
import sys


def readelf(path, *options):
    return subprocess.run(["readelf", "-W", *options, path], capture_output=True, text=True, check=True).stdout


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else "build/edge-llm"
    header, segments = readelf(path, "-h"), readelf(path, "-l")
    dynamic, symbols = readelf(path, "-d"), readelf(path, "--dyn-syms", "-s")
    stack = re.search(r"GNU_STACK.*", segments)
    loads = re.findall(r"^\s+LOAD\s.*", segments, re.M)
    checks = {
        "position-independent (PIE)": "DYN" in header,
        "relocations read-only (RELRO)": "GNU_RELRO" in segments,
        "bound at start (BIND_NOW)": "BIND_NOW" in dynamic or re.search(r"FLAGS_1.*NOW", dynamic) is not None,
        "no executable stack": stack is not None and "RWE" not in stack.group(0),
        "no segment writable and executable": not any("RWE" in line for line in loads),
        "stack protector": "__stack_chk_fail" in symbols,
        "FORTIFY": re.search(r"__\w+_chk\b(?<!__stack_chk)", symbols) is not None,
    }
    for name, holds in checks.items():
        print(f"{'ok' if holds else 'MISSING':8}{name}")
    return 0 if all(checks.values()) else 1


sys.exit(main())
