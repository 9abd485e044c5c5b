"""A state of one run with which a run with other parts begins: the same arrays, its own identity"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Optional, Tuple

from manifests.record.canonical_json import canonical_json
from manifests.record.checkpoint import HEAD, Head, read_entries, read_head, steps_digest
from manifests.record.schema import Identity

#: Of a zip entry: the file's bytes are to follow from its contents.
_NO_TIME = (1980, 1, 1, 0, 0, 0)


def adopted(head: Head, identity: Identity, counted: Optional[Tuple[str, ...]] = None) -> Head:
    """The head as a run of another identity would have written it: the digest of the state is the
    same, because only arrays, ranks, step and sums enter it.

    ``counted`` as for :func:`manifests.record.checkpoint.steps_digest`.
    """
    digests = {
        "identity_digest": identity.digest(),
        "steps_digest": steps_digest(identity, counted),
    }
    return head.model_copy(update=digests)


def adopt_state(
    source: Path, target: Path, identity: Identity, counted: Optional[Tuple[str, ...]] = None
) -> None:
    """Write the state in ``source`` as one of a run of this identity. One array at a time is in
    memory. Raises Damaged where an array is not that of the head, OSError."""
    head = adopted(read_head(source), identity, counted)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, data in read_entries(source):
            archive.writestr(zipfile.ZipInfo(name, _NO_TIME), data)
        text = canonical_json(head.model_dump(mode="json"))
        archive.writestr(zipfile.ZipInfo(HEAD, _NO_TIME), text)
