"""Compiles the two kubelet interfaces when they are first used; generated code is never committed."""

from __future__ import annotations

import importlib
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from grpc_tools import protoc

HERE = Path(__file__).parent


@cache
def load(name: str) -> tuple[Any, Any]:
    """The message and the service module of `NAME.proto`.

    Raises:
        RuntimeError: The file does not compile.
    """
    with tempfile.TemporaryDirectory() as folder:
        status = protoc.main(
            ["protoc", f"-I{HERE}", f"--python_out={folder}", f"--grpc_python_out={folder}", f"{name}.proto"]
        )
        if status:
            raise RuntimeError(f"{name}.proto does not compile (protoc ended with {status})")
        sys.path.insert(0, folder)
        try:
            return importlib.import_module(f"{name}_pb2"), importlib.import_module(f"{name}_pb2_grpc")
        finally:
            sys.path.remove(folder)
