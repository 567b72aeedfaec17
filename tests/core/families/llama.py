"""What llama.cpp computes from a GGUF file: its library, out of the xllamacpp wheel, in a process of its own.

The process serves many files; when it dies of one, that is an error of that file, and the next one gets a new process.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Kind = Literal["logits", "embeddings", "scores", "decoder", "encoder"]
"""logits of every token; of an encoder without a vocabulary: embeddings of every token, or a reranker's scores; of an
encoder with a decoder: logits of the decoder's tokens (the same tokens go into both), or the encoder's embeddings."""

Values = npt.NDArray[np.float32]

THREADS = 1


class LlamaFailed(AssertionError):
    """llama.cpp refused a file, or died of it; the text is what it said."""


class Llama:
    """A process that runs files in llama.cpp; `with Llama() as llama`."""

    def __enter__(self) -> Llama:
        self._process: subprocess.Popen[str] | None = None
        self._folder = tempfile.TemporaryDirectory()
        self._log, self._out = Path(self._folder.name) / "log.txt", Path(self._folder.name) / "out.npy"
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._folder.cleanup()

    def run(self, file: Path, tokens: list[int], kind: Kind = "logits") -> Values:
        """float32 [tokens, vocabulary or width]. Raises LlamaFailed."""
        process = self._process or self._start()
        assert process.stdin
        assert process.stdout
        before = self._log.stat().st_size
        print(json.dumps([str(file), tokens, kind, str(self._out)]), file=process.stdin, flush=True)
        answer = process.stdout.readline().strip()
        if answer == "done":
            return np.asarray(np.load(self._out), np.float32)
        if not answer:
            answer = f"died ({self._end()})"
        said = self._log.read_bytes()[before:].decode(errors="replace").strip()
        raise LlamaFailed(f"llama.cpp {answer}:\n{said[-1500:]}")

    def _start(self) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        with self._log.open("ab") as log:
            command = [sys.executable, __file__]
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, text=True)
        return self._process

    def _end(self) -> int:
        """Its exit status."""
        if not self._process:
            return 0
        with self._process as process:
            assert process.stdin
            process.stdin.close()
        self._process = None
        return process.returncode


# ---- the process: the library's C interface -------------------------------------------------------------------------

_PARAMS_BYTES = 1024  # more than either struct has: the library writes and reads only what it knows

# Where llama_context_params has what is set here: offset -> the default value, which shows that the layout is this one.
_N_CTX, _N_THREADS, _N_THREADS_BATCH, _POOLING, _FLASH, _TYPE_K, _TYPE_V = 0, 28, 32, 44, 52, 104, 108
_DEFAULTS = {_N_CTX: 512, _N_THREADS: 4, _N_THREADS_BATCH: 4, _POOLING: -1, _FLASH: -1, _TYPE_K: 1, _TYPE_V: 1}
_POOLING_NONE, _POOLING_RANK, _FLASH_OFF, _TYPE_F32 = 0, 4, 0, 0
_LOG_WARN = 3


class _Params(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_uint8 * _PARAMS_BYTES)]


class _Batch(ctypes.Structure):
    _fields_ = [
        ("n_tokens", ctypes.c_int32),
        ("token", ctypes.POINTER(ctypes.c_int32)),
        ("embd", ctypes.c_void_p),
        ("pos", ctypes.POINTER(ctypes.c_int32)),
        ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
        ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
        ("logits", ctypes.POINTER(ctypes.c_int8)),
    ]


_FLOATS = ctypes.POINTER(ctypes.c_float)
_LogFunction = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_ANY = ctypes.c_void_p
_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "llama_backend_init": (None, ()),
    "llama_log_set": (None, (_LogFunction, _ANY)),
    "llama_model_default_params": (_Params, ()),
    "llama_context_default_params": (_Params, ()),
    "llama_model_load_from_file": (_ANY, (ctypes.c_char_p, _Params)),
    "llama_model_get_vocab": (_ANY, (_ANY,)),
    "llama_vocab_n_tokens": (ctypes.c_int32, (_ANY,)),
    "llama_model_n_embd": (ctypes.c_int32, (_ANY,)),
    "llama_model_n_cls_out": (ctypes.c_uint32, (_ANY,)),
    "llama_init_from_model": (_ANY, (_ANY, _Params)),
    "llama_set_embeddings": (None, (_ANY, ctypes.c_bool)),
    "llama_batch_init": (_Batch, (ctypes.c_int32,) * 3),
    "llama_batch_free": (None, (_Batch,)),
    "llama_decode": (ctypes.c_int32, (_ANY, _Batch)),
    "llama_encode": (ctypes.c_int32, (_ANY, _Batch)),
    "llama_get_logits_ith": (_FLOATS, (_ANY, ctypes.c_int32)),
    "llama_get_embeddings_ith": (_FLOATS, (_ANY, ctypes.c_int32)),
    "llama_get_embeddings_seq": (_FLOATS, (_ANY, ctypes.c_int32)),
    "llama_free": (None, (_ANY,)),
    "llama_model_free": (None, (_ANY,)),
}


def _library() -> ctypes.CDLL:
    spec = find_spec("xllamacpp")
    assert spec
    assert spec.origin
    folder = Path(spec.origin).parent
    (file, *_) = [path for end in ("so", "pyd", "dylib") for path in sorted(folder.glob(f"*.{end}"))]
    library = ctypes.CDLL(str(file))
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


@_LogFunction
def _log(level: int, text: bytes, _: int) -> None:
    if level >= _LOG_WARN:
        sys.stderr.buffer.write(text)
        sys.stderr.flush()


class Refused(Exception):
    pass


def _evaluate(library: ctypes.CDLL, file: str, tokens: list[int], kind: Kind) -> Values:
    model = library.llama_model_load_from_file(file.encode(), library.llama_model_default_params())
    if not model:
        raise Refused("does not load the file")
    context = library.llama_init_from_model(model, _context_params(library, kind))
    try:
        if not context:
            raise Refused("makes no context of the model")
        return _outputs(library, model, context, tokens, kind)
    finally:
        library.llama_free(context)
        library.llama_model_free(model)


def _context_params(library: ctypes.CDLL, kind: Kind) -> _Params:
    """One thread, attention and its cache in float32, no pooling but a reranker's."""
    params = library.llama_context_default_params()
    fields = {at: ctypes.c_int32.from_buffer(params, at) for at in _DEFAULTS}
    found = {at: field.value for at, field in fields.items()}
    if found != _DEFAULTS:
        raise Refused(f"has another layout of llama_context_params: {found}")
    pooling = _POOLING_RANK if kind == "scores" else _POOLING_NONE
    values = {_N_THREADS: THREADS, _N_THREADS_BATCH: THREADS, _POOLING: pooling, _FLASH: _FLASH_OFF}
    for at, value in {**values, _TYPE_K: _TYPE_F32, _TYPE_V: _TYPE_F32}.items():
        fields[at].value = value
    return params  # type: ignore[no-any-return]


def _outputs(library: ctypes.CDLL, model: int, context: int, tokens: list[int], kind: Kind) -> Values:
    wants_embeddings = kind in ("embeddings", "scores", "encoder")
    library.llama_set_embeddings(context, wants_embeddings)
    batch = library.llama_batch_init(len(tokens), 0, 1)
    batch.n_tokens = len(tokens)
    for at, token in enumerate(tokens):
        batch.token[at], batch.pos[at], batch.n_seq_id[at], batch.seq_id[at][0], batch.logits[at] = token, at, 1, 0, 1
    try:
        for step in _STEPS[kind]:
            code = getattr(library, step)(context, batch)
            if code:
                raise Refused(f"fails in {step} with {code}")
        if kind == "scores":
            return _read(library.llama_get_embeddings_seq(context, 0), library.llama_model_n_cls_out(model))[None]
        if wants_embeddings:
            width, read = library.llama_model_n_embd(model), library.llama_get_embeddings_ith
        else:
            width = library.llama_vocab_n_tokens(library.llama_model_get_vocab(model))
            read = library.llama_get_logits_ith
        return np.stack([_read(read(context, at), width) for at in range(len(tokens))])
    finally:
        library.llama_batch_free(batch)


_STEPS: dict[Kind, tuple[str, ...]] = {
    "logits": ("llama_decode",),
    "embeddings": ("llama_encode",),
    "scores": ("llama_encode",),
    "encoder": ("llama_encode",),
    "decoder": ("llama_encode", "llama_decode"),
}


def _read(values: Any, width: int) -> Values:
    if not values:
        raise Refused("gives no values")
    return np.ctypeslib.as_array(values, (width,)).copy()


def _main() -> None:
    library = _library()
    library.llama_log_set(_log, None)
    library.llama_backend_init()
    for line in sys.stdin:
        file, tokens, kind, out = json.loads(line)
        try:
            np.save(out, _evaluate(library, file, tokens, kind))
            answer = "done"
        except Refused as refused:
            answer = str(refused)
        print(answer, flush=True)


if __name__ == "__main__":
    _main()
