"""`python -m tests.core.families [NAME ...] [--keep FOLDER]`: how far llama.cpp is from transformers."""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from pathlib import Path

from tests.core.families.llama import Llama, LlamaFailed
from tests.core.families.logits import ConversionFailed, compare
from tests.core.families.tables import FAMILIES, PENDING
from tests.core.families.tiny import TinyModel


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="default: all")
    parser.add_argument("--keep", type=Path, help="the folder to make the models and files in")
    options = parser.parse_args()
    unknown = set(options.names) - FAMILIES.keys()
    if unknown:
        parser.error(f"no such family: {', '.join(sorted(unknown))}. Known: {', '.join(FAMILIES)}")
    bad = 0
    with tempfile.TemporaryDirectory() as folder, Llama() as llama:
        for name in options.names or FAMILIES:
            verdict, text = _verdict(options.keep or Path(folder), FAMILIES[name], llama)
            bad += not verdict
            pending = " (in PENDING)" if name in PENDING else ""
            print(f"{'ok ' if verdict else 'BAD'} {name}{pending}: {text}", flush=True)
    return int(bad > 0)


def _verdict(folder: Path, family: TinyModel, llama: Llama) -> tuple[bool, str]:
    try:
        found = compare(folder, family, llama)
    except ConversionFailed as error:
        return False, f"not converted: {error}"
    except LlamaFailed as error:
        return False, str(error)
    except Exception:
        return False, traceback.format_exc(limit=-4)
    reason = f"; not compared: {family.reason}" if family.reason else ""
    text = f"largest difference {found:.2e}, allowed {family.tolerance:.0e}{reason}"
    return found < family.tolerance or bool(family.reason), text


if __name__ == "__main__":
    sys.exit(main())
