"""The sentence on bytes that are not the recorded ones, for both sides of the container."""

from __future__ import annotations


def was_altered(found: str, expected: str, verb: str = "was") -> str:
    """What is wrong with bytes of another sha256 than the recorded one, without a subject."""
    return f"{verb} altered: sha256 {found}, expected {expected}"
