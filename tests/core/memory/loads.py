"""A program: loads a GGUF file in llama.cpp, read and not mapped, else with the defaults of its C interface.

Its log tells its buffers. Of a mapped file it would tell a range of pages, in which what is held twice counts once.
"""

import ctypes
import os
import sys
from pathlib import Path
from typing import Self

import xllamacpp

_MODE_AT, _AUTOMATIC = 24, -1


class Params(ctypes.Structure):
    """Parameters of either kind, handed on as llama.cpp gave them: larger than both."""

    _fields_ = [("content", ctypes.c_ubyte * 512)]

    def read_whole(self) -> Self:
        """With the mode of loading, which is behind two pointers and two numbers, set from automatic to none."""
        mode = ctypes.c_int32.from_buffer(self, _MODE_AT)
        assert mode.value == _AUTOMATIC
        mode.value = 0
        return self


@ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
def _say(level: int, text: bytes, user: object) -> None:
    sys.stdout.write(text.decode("utf-8", "replace"))


def _main(file: str) -> None:
    library = ctypes.CDLL(str(next(Path(xllamacpp.__file__).parent.glob("*.so"))))
    library.llama_log_set(_say, None)
    library.llama_backend_init()
    for name in ("llama_model_default_params", "llama_context_default_params"):
        getattr(library, name).restype = Params
    for name, first in (("llama_model_load_from_file", ctypes.c_char_p), ("llama_init_from_model", ctypes.c_void_p)):
        getattr(library, name).restype = ctypes.c_void_p
        getattr(library, name).argtypes = [first, Params]
    params = library.llama_model_default_params().read_whole()
    model = library.llama_model_load_from_file(os.fsencode(file), params)
    context = model and library.llama_init_from_model(model, library.llama_context_default_params())
    sys.stdout.flush()
    os._exit(0 if context else 1)


if __name__ == "__main__":
    _main(*sys.argv[1:])
