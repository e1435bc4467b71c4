#!/usr/bin/env python3
"""Speed of ONNX Runtime GenAI on one model folder, as one line for bench/compare.

    bench/peer_genai.py FOLDER pp512|tg32 THREADS       needs the package onnxruntime-genai

FOLDER comes from onnxruntime-genai's own model builder. Prints tokens a second; one run warms up."""
import json
import pathlib
import shutil
import sys
import tempfile
import time


def main():
    folder, test, threads = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2], int(sys.argv[3])
    import onnxruntime_genai as genai
    with tempfile.TemporaryDirectory() as copy:  # the number of threads is part of the model's configuration
        for entry in folder.iterdir():
            (pathlib.Path(copy) / entry.name).symlink_to(entry)
        config = json.loads((folder / "genai_config.json").read_text())
        config["model"]["decoder"]["session_options"].update(intra_op_num_threads=threads)
        path = pathlib.Path(copy) / "genai_config.json"
        path.unlink()
        path.write_text(json.dumps(config))
        model = genai.Model(copy)
        kind, n = test[:2], int(test[2:])
        rate = 0.0
        for _ in range(2):
            params = genai.GeneratorParams(model)
            params.set_search_options(max_length=n + 16, min_length=n + 16, do_sample=False)
            generator = genai.Generator(model, params)
            start = time.perf_counter()
            generator.append_tokens([7 * i % 1000 + 100 for i in range(n if kind == "pp" else 1)])
            if kind == "tg":
                start = time.perf_counter()
                for _ in range(n):
                    generator.generate_next_token()
            rate = n / (time.perf_counter() - start)
            del generator
        print(f"{test} {rate:.2f} tok/s")
        shutil.rmtree(copy, ignore_errors=True)


if __name__ == "__main__":
    main()
