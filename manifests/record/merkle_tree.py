"""Merkle trees with SHA-256 (RFC 6962, section 2.1): root, inclusion proofs, and their check.

Leaves and inner nodes are hashed with different first bytes (domain separation), so that an inner
node cannot pass for a leaf. Nothing here knows what the leaves are.
"""

from __future__ import annotations

import hashlib
from typing import List, Sequence

_LEAF, _NODE = b"\x00", b"\x01"


def leaf(data: bytes) -> bytes:
    """Hash of one leaf, 32 bytes."""
    return hashlib.sha256(_LEAF + data).digest()


def node(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node over the hashes of its two parts, 32 bytes."""
    return hashlib.sha256(_NODE + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """Root over the hashes of all leaves (:func:`leaf`), in order; 32 bytes.

    A tree without leaves has the hash of no bytes.
    """
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    half = _split(len(leaves))
    return node(root(leaves[:half]), root(leaves[half:]))


def proof(leaves: Sequence[bytes], index: int) -> List[bytes]:
    """The audit path of leaf ``index``: hashes of the other parts, from the leaf up to the root.

    Raises IndexError for a leaf that the tree does not have.
    """
    if not 0 <= index < len(leaves):
        raise IndexError(f"leaf {index} of {len(leaves)}")
    if len(leaves) == 1:
        return []
    half = _split(len(leaves))
    if index < half:
        return [*proof(leaves[:half], index), root(leaves[half:])]
    return [*proof(leaves[half:], index - half), root(leaves[:half])]


def proves(found: bytes, index: int, size: int, path: Sequence[bytes], expected: bytes) -> bool:
    """Whether ``path`` leads from the leaf with hash ``found`` at ``index`` of a tree with ``size``
    leaves to the root ``expected`` (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    place, last, value = index, size - 1, found
    for other in path:
        if last == 0:
            return False
        if place % 2 or place == last:
            value = node(other, value)
            while place % 2 == 0 and place:
                place, last = place // 2, last // 2
        else:
            value = node(value, other)
        place, last = place // 2, last // 2
    return last == 0 and value == expected


def _split(size: int) -> int:
    """The largest power of two below ``size``, which is above 1."""
    power: int = 1 << ((size - 1).bit_length() - 1)
    return power
