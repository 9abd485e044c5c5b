"""JSON whose bytes depend on the value alone, and digests of values by way of it."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical_json(value: Any) -> bytes:
    """Bytes that depend on the value alone: sorted keys, no white space, UTF-8."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode("utf-8")


def indented_json(value: Any, indent: int = 2) -> str:
    """Text for people and other tools, whose bytes depend on the value alone, too."""
    text = json.dumps(value, indent=indent, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return text + "\n"


def digest_of(value: Any) -> str:
    """sha256, hexadecimal, of the canonical JSON of ``value``."""
    return hashlib.sha256(canonical_json(value)).hexdigest()
