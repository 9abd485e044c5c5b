"""The Merkle tree of RFC 6962: published roots, proofs of every leaf, and nothing else proven."""

from __future__ import annotations

import hashlib

import pytest

from manifests.record import merkle_tree

#: The inputs and roots that implementations of RFC 6962 test each other with.
INPUTS = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [merkle_tree.leaf(bytes.fromhex(text)) for text in INPUTS]


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_the_published_ones(size: int) -> None:
    assert merkle_tree.root(LEAVES[:size]).hex() == ROOTS[size - 1]


def test_a_tree_without_leaves_is_the_hash_of_nothing() -> None:
    assert merkle_tree.root([]) == hashlib.sha256(b"").digest()


def test_every_leaf_of_every_size_is_proven_at_its_own_place_only() -> None:
    leaves = [merkle_tree.leaf(bytes([number])) for number in range(23)]
    for size in range(1, 24):
        root = merkle_tree.root(leaves[:size])
        for index in range(size):
            path = merkle_tree.proof(leaves[:size], index)
            assert merkle_tree.proves(leaves[index], index, size, path, root)
            for other in range(size):
                proven = merkle_tree.proves(leaves[index], other, size, path, root)
                assert proven == (other == index)
            assert not merkle_tree.proves(leaves[index], size, size, path, root)
            assert not merkle_tree.proves(leaves[index], -1, size, path, root)


def test_a_path_with_another_hash_or_length_proves_nothing() -> None:
    root = merkle_tree.root(LEAVES)
    path = merkle_tree.proof(LEAVES, 5)
    assert not merkle_tree.proves(LEAVES[4], 5, 8, path, root)
    assert not merkle_tree.proves(LEAVES[5], 5, 8, path[:-1], root)
    assert not merkle_tree.proves(LEAVES[5], 5, 8, [*path, root], root)
    assert not merkle_tree.proves(LEAVES[5], 5, 8, [LEAVES[5], *path[1:]], root)
    assert not merkle_tree.proves(LEAVES[5], 5, 8, path, LEAVES[5])


def test_an_inner_node_cannot_pass_for_a_leaf() -> None:
    inner = merkle_tree.node(LEAVES[0], LEAVES[1])
    assert merkle_tree.leaf(LEAVES[0] + LEAVES[1]) != inner
    assert merkle_tree.root(LEAVES[:4]) != merkle_tree.root(
        [merkle_tree.leaf(LEAVES[0] + LEAVES[1]), merkle_tree.leaf(LEAVES[2] + LEAVES[3])]
    )


def test_there_is_no_proof_of_a_leaf_that_is_not_there() -> None:
    with pytest.raises(IndexError, match="leaf 8 of 8"):
        merkle_tree.proof(LEAVES, 8)
