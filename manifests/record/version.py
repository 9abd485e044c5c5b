"""The version of the records: of an unknown minor one, unknown fields are kept."""

from __future__ import annotations

from typing import Optional

SCHEMA_VERSION = "1.3"


class UnsupportedVersion(ValueError):
    """A record whose major version this code does not know."""


def check_version(found: object) -> Optional[str]:
    """Return a warning for an unknown minor version, None for a known one.

    Raises UnsupportedVersion for another major version or a text that is not a version.
    """
    known_major, known_minor = (int(part) for part in SCHEMA_VERSION.split("."))
    try:
        major, minor = (int(part) for part in str(found).split("."))
    except ValueError:
        raise UnsupportedVersion(f"version {found!r} is not of the form MAJOR.MINOR") from None
    if major != known_major:
        raise UnsupportedVersion(
            f"version {found} is not known: this bundle reads version {known_major}.x"
        )
    if minor > known_minor:
        return f"version {found} is newer than {SCHEMA_VERSION}: fields it added are kept, not used"
    return None
