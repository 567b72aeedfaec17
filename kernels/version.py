"""Which kernels these are: a name that changes with their sources, and with nothing else."""

import hashlib
from functools import cache
from pathlib import Path

LENGTH = 16
_FOLDER = Path(__file__).parent


@cache
def version(folder: Path = _FOLDER) -> str:
    """16 hexadecimal digits of a hash of all sources in `folder`; zeros in an application that was packed without."""
    digest, found = hashlib.sha256(), sorted(path for path in folder.rglob("*.py") if path.is_file())
    for path in found:
        text = path.read_bytes().replace(b"\r\n", b"\n")  # a checkout on Windows may end its lines otherwise
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + text + b"\0")
    return digest.hexdigest()[:LENGTH] if found else "0" * LENGTH
