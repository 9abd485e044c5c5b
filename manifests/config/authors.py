"""Authors of a run, as a config names them: names, or mappings with ORCID iD and affiliation"""

from __future__ import annotations

import re
from typing import Any, List, Tuple

from manifests.record.schema import Author

EXPECTED_AUTHORS = "a list of names, or of mappings with name, orcid and affiliation"
_KEYS = ("name", "orcid", "affiliation")
_TEXT = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
_ORCID = re.compile(r"[0-9]{4}-[0-9]{4}-[0-9]{4}-[0-9]{3}[0-9X]")


def is_orcid(text: str) -> bool:
    """Whether the last of 16 digits is the checksum of the others (ISO 7064, MOD 11-2)."""
    if not _ORCID.fullmatch(text):
        return False
    digits = text.replace("-", "")
    total = 0
    for digit in digits[:-1]:
        total = (total + int(digit)) * 2
    return digits[-1] == "0123456789X"[(12 - total % 11) % 11]


def parse_authors(value: Any) -> Tuple[List[Author], List[str]]:
    """The authors that the value of the key means, or all that is wrong with it."""
    if not isinstance(value, list):
        return [], [f"authors: expected {EXPECTED_AUTHORS}"]
    authors, problems = [], []
    for number, item in enumerate(value):
        fields = {"name": item} if isinstance(item, str) else item
        if isinstance(fields, dict):
            fields = {key: field for key, field in fields.items() if field is not None}
        found = _problems(fields)
        problems += [f"authors.{number}{problem}" for problem in found]
        if not found:
            authors.append(Author(**fields))
    return ([] if problems else authors), problems


def _problems(fields: Any) -> List[str]:
    if not isinstance(fields, dict):
        return [": expected a name, or a mapping with name, orcid and affiliation"]
    problems = [
        f".{key}: is not a known key, expected name, orcid or affiliation"
        for key in fields
        if key not in _KEYS
    ]
    for key in ("name", "affiliation"):
        text = fields.get(key)
        if (key in fields or key == "name") and not _is_text(text):
            problems.append(f".{key}: found {text!r}, expected up to 200 letters")
    orcid = fields.get("orcid")
    if "orcid" in fields and not (isinstance(orcid, str) and is_orcid(orcid)):
        problems.append(
            f".orcid: found {orcid!r}, expected an ORCID iD such as 0000-0002-1825-0097 "
            "(the last digit is a checksum)"
        )
    return problems


def _is_text(text: Any) -> bool:
    return isinstance(text, str) and bool(_TEXT.fullmatch(text)) and bool(text.strip())
