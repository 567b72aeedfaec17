"""What llama.cpp makes of a text with the tokenizer keys of a GGUF: its library, out of the xllamacpp wheel, in a
process of its own; a vocabulary is loaded without a model."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from core.gguf import encode_header
from core.model import Metadata

_VOCAB_ONLY = 72  # where llama_model_params has it
_PARAMS_BYTES = 1024  # more than the struct has: the library writes and reads only what it knows
_ROOM = 1 << 12
_ROOT = Path(__file__).parents[3]


class LlamaFailed(AssertionError):
    """llama.cpp refused a vocabulary, or died of it; the text is what it said."""


def llama_tokens(
    vocabularies: Sequence[Sequence[Metadata]], texts: Sequence[str], *, special: bool = False
) -> list[list[list[int]]]:
    """Ids of each text by each vocabulary. With `special`, BOS and EOS are added and special tokens in the text are
    seen as such."""
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder) / f"{at}.gguf") for at in range(len(vocabularies))]
        for file, keys in zip(files, vocabularies, strict=True):
            write_vocabulary(Path(file), keys)
        task = json.dumps({"files": files, "texts": list(texts), "special": special})
        command = [sys.executable, "-m", __name__]
        ran = subprocess.run(command, input=task, capture_output=True, text=True, timeout=120, cwd=_ROOT, check=False)
    if ran.returncode:
        raise LlamaFailed(f"llama.cpp ended with {ran.returncode}:\n{ran.stderr[-2000:]}")
    results: list[list[list[int]]] = json.loads(ran.stdout)
    return results


def write_vocabulary(file: Path, keys: Sequence[Metadata]) -> None:
    """A GGUF of these keys and no tensors."""
    file.write_bytes(encode_header([Metadata("general.architecture", "str", "llama"), *keys], []))


# ---- the process: the library's C interface -------------------------------------------------------------------------


class _Params(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_uint8 * _PARAMS_BYTES)]


_ANY = ctypes.c_void_p
_LogFunction = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_INT, _BOOL, _TEXT = ctypes.c_int32, ctypes.c_bool, ctypes.c_char_p
_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "llama_backend_init": (None, ()),
    "llama_log_set": (None, (_LogFunction, _ANY)),
    "llama_model_default_params": (_Params, ()),
    "llama_model_load_from_file": (_ANY, (_TEXT, _Params)),
    "llama_model_get_vocab": (_ANY, (_ANY,)),
    "llama_model_free": (None, (_ANY,)),
    "llama_tokenize": (_INT, (_ANY, _TEXT, _INT, ctypes.POINTER(_INT), _INT, _BOOL, _BOOL)),
}


@_LogFunction
def _log(level: int, text: bytes, _: int) -> None:
    if level >= 3:
        sys.stderr.buffer.write(text)
        sys.stderr.flush()


def _library() -> ctypes.CDLL:
    spec = find_spec("xllamacpp")
    assert spec
    assert spec.origin
    (file, *_) = [path for end in ("so", "pyd", "dylib") for path in sorted(Path(spec.origin).parent.glob(f"*.{end}"))]
    library = ctypes.CDLL(str(file))
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _tokenized(library: ctypes.CDLL, file: str, texts: list[str], *, special: bool) -> list[list[int]]:
    params = library.llama_model_default_params()
    assert params.bytes[_VOCAB_ONLY] == 0, "another layout of llama_model_params"
    params.bytes[_VOCAB_ONLY] = 1
    model = library.llama_model_load_from_file(file.encode(), params)
    assert model, f"does not load the vocabulary {file}"
    vocabulary = library.llama_model_get_vocab(model)
    results = []
    for text in texts:
        data, room = text.encode(), (_INT * _ROOM)()
        count = library.llama_tokenize(vocabulary, data, len(data), room, _ROOM, special, special)
        assert count >= 0, f"{-count} tokens are too many"
        results.append(list(room[:count]))
    library.llama_model_free(model)
    return results


def _main() -> None:
    library = _library()
    library.llama_log_set(_log, None)
    library.llama_backend_init()
    task = json.load(sys.stdin)
    files, texts, special = task["files"], task["texts"], task["special"]
    print(json.dumps([_tokenized(library, file, texts, special=special) for file in files]))


if __name__ == "__main__":
    _main()
