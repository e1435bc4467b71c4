#!/usr/bin/env python3
"""Functions and constructs that have no place in the library (and few in the program)."""
import pathlib
import re
import sys

EVERYWHERE = ["gets", "strcpy", "strcat", "sprintf", "vsprintf", "strtok", "alloca", "setjmp", "longjmp", "atoi",
              "atol", "atof", "scanf", "sscanf", "system", "popen", "tmpnam", "rand", "srand"]
LIBRARY = ["printf", "fprintf", "puts", "putchar", "perror", "exit", "_exit", "abort", "getenv", "malloc", "calloc",
           "realloc", "free", "strdup", "fopen"]
# The one place that may: the default allocator.
EXCEPT = {("src/base/alloc.c", "free")}
WORDS = ["TODO", "FIXME", "XXX", "HACK"]


def strip(text):
    """Blanks comments and strings, keeping line numbers."""
    pattern = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), text)


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    errors = []
    for path in sorted((root / "src").rglob("*.[ch]")):
        name = str(path.relative_to(root))
        raw = path.read_text()
        code = strip(raw)
        banned = EVERYWHERE + ([] if name.startswith("src/cli/") else LIBRARY)
        for number, line in enumerate(code.splitlines(), 1):
            for match in re.finditer(r"(?<![\w.>])(\w+)\s*\(", line):
                if match.group(1) in banned and (name, match.group(1)) not in EXCEPT:
                    errors.append(f"{name}:{number}: {match.group(1)} is not used here")
        for number, line in enumerate(raw.splitlines(), 1):
            for word in WORDS:
                if re.search(rf"\b{word}\b", line):
                    errors.append(f"{name}:{number}: {word}")
    print("\n".join(errors) if errors else "banned functions: none")
    return 1 if errors else 0


sys.exit(main())
