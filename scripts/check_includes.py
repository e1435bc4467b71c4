#!/usr/bin/env python3
"""Includes go one way (DESIGN.md, layers): a file may include its own folder and those listed below it."""
import pathlib
import re
import sys

DEVICE = ["base", "ir", "elm", "text", "backend", "partition", "runtime", "api"]
ALLOWED = {
    "base": {"base"},
    "ir": {"base", "ir"},
    "elm": {"base", "ir", "elm"},
    "text": {"base", "ir", "elm", "text"},
    "backend": {"base", "ir", "elm", "backend"},
    "partition": {"base", "ir", "elm", "backend", "partition"},
    "runtime": {"base", "ir", "elm", "text", "backend", "partition", "runtime"},
    "api": set(DEVICE),
    "parse": {"base", "text", "parse"},
    "quant": {"base", "ir", "elm", "parse", "quant"},
    "models": {"base", "ir", "elm", "text", "parse", "quant", "models"},
    "convert": {"base", "ir", "elm", "text", "parse", "quant", "models", "convert"},
    "cli": set(DEVICE) | {"parse", "quant", "models", "convert", "cli"},
}
PUBLIC = {"edge_llm_types.h": None, "edge_llm.h": {"runtime", "api", "cli"}, "edge_llm_convert.h": {"convert", "cli"}}


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    errors = []
    for path in sorted((root / "src").rglob("*.[ch]")) + sorted((root / "src").rglob("*.def")):
        rel = path.relative_to(root / "src")
        layer = rel.parts[0]
        if layer not in ALLOWED:
            errors.append(f"{rel}: folder '{layer}' is not in the list of layers")
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not match:
                continue
            target = match.group(1)
            if target in PUBLIC:
                users = PUBLIC[target]
                if users is not None and layer not in users:
                    errors.append(f"{rel}:{number}: {layer} may not include {target}")
                continue
            folder = target.split("/")[0] if "/" in target else None
            if folder is None:
                errors.append(f"{rel}:{number}: '{target}' is not written from src/ (\"base/span.h\")")
            elif folder not in ALLOWED[layer]:
                errors.append(f"{rel}:{number}: {layer} may not include {folder}")
            # A backend reaches into no other backend.
            parts = target.split("/")
            if layer == "backend" and folder == "backend" and len(rel.parts) > 2 and len(parts) > 2:
                if parts[1] != rel.parts[1]:
                    errors.append(f"{rel}:{number}: backend {rel.parts[1]} may not include backend {parts[1]}")
    print("\n".join(errors) if errors else "includes: one way")
    return 1 if errors else 0


sys.exit(main())
