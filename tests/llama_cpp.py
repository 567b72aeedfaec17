"""The real runner: llama.cpp by way of the xllamacpp wheel, in a process of its own: its crash is a test's failure.

Run as a program it loads a GGUF file and prints the greedy continuation of a prompt as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def generate(file: Path, prompt: str = "Ownership is", tokens: int = 20) -> str:
    """The text that llama.cpp writes after `prompt`, always taking the likeliest token."""
    command = [sys.executable, __file__, str(file), prompt, str(tokens)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, f"llama.cpp did not load {file.name}:\n{ran.stderr[-2000:]}"
    return str(json.loads(ran.stdout.splitlines()[-1])["text"])


def _main(file: str, prompt: str, tokens: str) -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = file
    params.n_ctx, params.n_parallel, params.warmup, params.verbosity = 256, 1, False, 0
    params.check_tensors = True
    params.cpuparams.n_threads = 2
    server = xllamacpp.Server(params)
    request = {"prompt": prompt, "n_predict": int(tokens), "temperature": 0.0, "top_k": 1, "cache_prompt": False}
    answer = server.handle_completions(request)
    answer = answer if isinstance(answer, dict) else json.loads(answer)
    print(json.dumps({"text": answer["choices"][0]["text"]}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
