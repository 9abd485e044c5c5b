"""What pydantic found wrong, one sentence per key path."""

from __future__ import annotations

from typing import List, Tuple, Union

from pydantic import ValidationError


def key_path(location: Tuple[Union[str, int], ...]) -> str:
    """``("debian", "files", 3, "sha256")`` -> ``debian.files[3].sha256``."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def faults_of(error: ValidationError, where: str) -> List[str]:
    """Return ``<where>: <key path>: <what is wrong>`` for every fault, in the file's order."""
    sentences = []
    for fault in error.errors(include_url=False):
        message = fault["msg"][0].lower() + fault["msg"][1:]
        path = key_path(fault["loc"])
        sentences.append(f"{where}: {path}: {message}" if path else f"{where}: {message}")
    return sentences
