#!/usr/bin/env python3
"""usage: pages.py LIBRARY - every loadable segment of a shared object is aligned to 16 KiB (Android's rule)."""
import subprocess
import sys

output = subprocess.run(["readelf", "-lW", sys.argv[1]], capture_output=True, text=True, check=True).stdout
aligns = [int(line.split()[-1], 16) for line in output.splitlines() if line.split()[:1] == ["LOAD"]]
bad = [a for a in aligns if a % 16384]
print(f"pages: {len(aligns)} segments, smallest alignment {min(aligns, default=0)}")
sys.exit(1 if bad or not aligns else 0)
