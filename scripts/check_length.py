#!/usr/bin/env python3
"""No source file over 1,000 lines (tables excepted), no line over 120 columns, no file over 64 KiB."""
import pathlib
import subprocess
import sys

TABLES = {"src/text/unicode_tables.c", "tests/e2e/template_snippets.py"}
LARGE = TABLES  # listed golden files may be added here
MAX_LINES, MAX_COLUMNS, MAX_BYTES = 1000, 120, 64 * 1024


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True).stdout
    errors = []
    for name in filter(None, listed.split("\0")):
        path = root / name
        if not path.is_file():
            continue
        if name not in LARGE and path.stat().st_size > MAX_BYTES:
            errors.append(f"{name}: {path.stat().st_size} bytes; at most {MAX_BYTES}")
        if path.suffix not in {".c", ".h", ".def", ".py", ".sh"} or name in TABLES:
            continue
        lines = path.read_text().splitlines()
        if len(lines) > MAX_LINES:
            errors.append(f"{name}: {len(lines)} lines; at most {MAX_LINES}")
        for number, line in enumerate(lines, 1):
            if len(line) > MAX_COLUMNS:
                errors.append(f"{name}:{number}: {len(line)} columns; at most {MAX_COLUMNS}")
    print("\n".join(errors) if errors else "lengths: within the caps")
    return 1 if errors else 0


sys.exit(main())
