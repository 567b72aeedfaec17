"""How llama.cpp's gguf-split cuts a file, done with ggml's own GGUF functions from the xllamacpp wheel.

The program is not in the wheel; what it does is short: cut where the tensors of a part would exceed the size, give
every part the keys split.*, and the first one all others.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import xllamacpp


class _Params(ctypes.Structure):
    _fields_ = [("no_alloc", ctypes.c_bool), ("ctx", ctypes.POINTER(ctypes.c_void_p))]


def _library() -> ctypes.CDLL:
    folder = Path(xllamacpp.__file__).parent
    library = ctypes.CDLL(str(next(path for kind in ("*.so", "*.pyd", "*.dylib") for path in folder.glob(kind))))
    pointers = ("gguf_init_from_file", "gguf_init_empty", "ggml_get_tensor")
    for name in pointers:
        getattr(library, name).restype = ctypes.c_void_p
    library.gguf_init_from_file.argtypes = [ctypes.c_char_p, _Params]
    library.gguf_get_tensor_name.restype = ctypes.c_char_p
    library.gguf_get_n_tensors.restype = ctypes.c_int64
    for name in ("gguf_get_meta_size", "gguf_get_tensor_size"):
        getattr(library, name).restype = ctypes.c_size_t
    return library


def part_headers(file: Path, max_bytes: int) -> list[bytes]:
    """The header of every part that `gguf-split --split-max-size` would write, padding included."""
    ggml, meta = _library(), ctypes.c_void_p()
    source = ctypes.c_void_p(ggml.gguf_init_from_file(str(file).encode(), _Params(True, ctypes.pointer(meta))))
    count = ggml.gguf_get_n_tensors(source)
    parts: list[ctypes.c_void_p] = []
    size = 0
    for index in range(count):
        nbytes = -(-ggml.gguf_get_tensor_size(source, ctypes.c_int64(index)) // 32) * 32
        size += nbytes
        if not parts or size > max_bytes:
            parts.append(_new_part(ggml, source, len(parts), count))
            size = nbytes
        name = ggml.gguf_get_tensor_name(source, ctypes.c_int64(index))
        ggml.gguf_add_tensor(parts[-1], ctypes.c_void_p(ggml.ggml_get_tensor(meta, name)))
    for part in parts:
        ggml.gguf_set_val_u16(part, b"split.count", ctypes.c_uint16(len(parts)))
    headers = [_header(ggml, part) for part in parts]
    for context in (*parts, source):
        ggml.gguf_free(context)
    ggml.ggml_free(meta)
    return headers


def _new_part(ggml: ctypes.CDLL, source: ctypes.c_void_p, number: int, tensors: int) -> ctypes.c_void_p:
    part = ctypes.c_void_p(ggml.gguf_init_empty())
    if number == 0:
        ggml.gguf_set_kv(part, source)
    ggml.gguf_set_val_u16(part, b"split.no", ctypes.c_uint16(number))
    ggml.gguf_set_val_u16(part, b"split.count", ctypes.c_uint16(0))
    ggml.gguf_set_val_i32(part, b"split.tensors.count", ctypes.c_int32(tensors))
    return part


def _header(ggml: ctypes.CDLL, part: ctypes.c_void_p) -> bytes:
    data = ctypes.create_string_buffer(ggml.gguf_get_meta_size(part))
    ggml.gguf_get_meta_data(part, data)
    return data.raw
