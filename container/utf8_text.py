"""Names of files may be any bytes; what a person is shown is UTF-8"""

from __future__ import annotations


def utf8_text(text: str) -> str:
    """``text`` with ``?`` for each byte that is not UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")
