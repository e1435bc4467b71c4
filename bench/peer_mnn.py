#!/usr/bin/env python3
"""Speed of MNN on one model folder, as one line for bench/compare.

    bench/peer_mnn.py FOLDER pp512|tg32 THREADS       needs the package MNN

FOLDER comes from MNN's own llmexport. Prints tokens a second; one run warms up."""
import json
import pathlib
import sys
import tempfile
import time


def main():
    folder, test, threads = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2], int(sys.argv[3])
    import MNN.llm
    kind, n = test[:2], int(test[2:])
    with tempfile.TemporaryDirectory() as copy:  # the number of threads is part of the model's configuration
        for entry in folder.iterdir():
            (pathlib.Path(copy) / entry.name).symlink_to(entry)
        path = pathlib.Path(copy) / "config.json"
        config = json.loads(path.read_text()) | dict(thread_num=threads, reuse_kv=False)
        path.unlink()
        path.write_text(json.dumps(config))
        model = MNN.llm.create(str(path))
        model.load()
        rate = 0.0
        for _ in range(2):
            start = time.perf_counter()
            model.generate([7 * i % 1000 + 100 for i in range(n if kind == "pp" else 2)])  # reads the prompt only
            if kind == "tg":
                start = time.perf_counter()
                for i in range(n):
                    model.forward([i + 100])
            rate = n / (time.perf_counter() - start)
        print(f"{test} {rate:.2f} tok/s")


if __name__ == "__main__":
    main()
