"""Random choices are values of a function, the same in every version and on every machine."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.randomness import (
    Purpose,
    all_below,
    dropout_mask,
    first_words,
    name_word,
    permutation,
    uniform_below,
    unit_floats,
    words,
)

MASK = 2**64 - 1


def philox4x64(counter: list[int], key: list[int]) -> list[int]:
    """Philox-4x64-10 of the paper (Salmon et al. 2011, section 3.3 and table 2)."""
    for round_number in range(10):
        if round_number:
            key = [(key[0] + 0x9E3779B97F4A7C15) & MASK, (key[1] + 0xBB67AE8584CAA73B) & MASK]
        first = 0xD2E7470EE14C6C93 * counter[0]
        second = 0xCA5A826395121157 * counter[2]
        counter = [
            (second >> 64) ^ counter[1] ^ key[0],
            second & MASK,
            (first >> 64) ^ counter[3] ^ key[1],
            first & MASK,
        ]
    return counter


def test_words_are_philox_of_key_and_counter() -> None:
    found = words(123, Purpose.CROP, 8, epoch=4, sample=5, extra=6).tolist()
    # NumPy counts up before it draws.
    expected = philox4x64([1, 4, 5, 6], [123, 2]) + philox4x64([2, 4, 5, 6], [123, 2])
    assert found == expected


def test_largest_seed_is_accepted() -> None:
    found = words(2**63 - 1, Purpose.FLIP, 4).tolist()
    assert found == philox4x64([1, 0, 0, 0], [2**63 - 1, 3])


def test_purposes_are_distinct_and_fixed() -> None:
    assert {p.name: p.value for p in Purpose} == {
        "PERMUTATION": 1,
        "CROP": 2,
        "FLIP": 3,
        "DROPOUT": 4,
        "INITIAL_WEIGHTS": 5,
    }


def test_below_covers_its_range() -> None:
    assert [uniform_below(0, 10), uniform_below(2**63, 10), uniform_below(2**64 - 1, 10)] == [
        0,
        5,
        9,
    ]


def test_unit_floats_stay_below_one() -> None:
    raw = np.array([0, 2**63, 2**64 - 1], dtype=np.uint64)
    assert unit_floats(raw).tolist() == [0.0, 0.5, 1 - 2**-53]


def test_permutation_has_each_sample_once_and_changes_with_the_epoch() -> None:
    first, second = permutation(1, 0, 1000), permutation(1, 1, 1000)
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(1000))
    assert first.tolist() != second.tolist()


def test_permutation_is_known() -> None:
    assert permutation(0, 0, 8).tolist() == [5, 3, 7, 2, 4, 1, 0, 6]


def test_global_state_has_no_influence_and_is_not_touched() -> None:
    np.random.seed(1)
    first = permutation(0, 0, 50).tolist()
    state = np.random.get_state()[1].tolist()  # type: ignore[index,union-attr]
    np.random.seed(2)
    assert permutation(0, 0, 50).tolist() == first
    np.random.seed(1)
    permutation(0, 0, 50)
    assert np.random.get_state()[1].tolist() == state  # type: ignore[index,union-attr]


def test_dropout_mask_keeps_the_expected_value() -> None:
    mask = dropout_mask(3, "layer", 0.5, [0] * 20, list(range(20)), (50, 10))
    assert mask.dtype == np.float32
    assert mask.shape == (20, 50, 10)
    assert set(np.unique(mask)) == {0.0, 2.0}
    assert abs(mask.mean() - 1) < 0.03


def test_dropout_mask_of_a_sample_does_not_depend_on_its_batch() -> None:
    together = dropout_mask(3, "layer", 0.5, [0, 1, 1], [5, 6, 7], (7, 3, 3))
    alone = dropout_mask(3, "layer", 0.5, [1], [6], (7, 3, 3))
    assert together[1].tobytes() == alone[0].tobytes()


def test_dropout_mask_differs_by_layer_epoch_and_sample() -> None:
    masks = [
        dropout_mask(3, layer, 0.5, [epoch], [sample], (64,)).tobytes()
        for layer in ("a", "b")
        for epoch in (0, 1)
        for sample in (0, 1)
    ]
    assert len(set(masks)) == 8


def test_name_word_is_known() -> None:
    assert name_word("block4") == 7759823386532401185


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**63 - 1])
def test_many_samples_at_once_have_the_words_of_each(seed: int) -> None:
    samples, epochs = [0, 1, 2**32 - 1, 2**32, 2**63, *range(50)], [0, 2**40, 7, 1, 0] * 11
    purposes = (Purpose.CROP, Purpose.FLIP, Purpose.INITIAL_WEIGHTS)
    found = first_words(seed, purposes, epochs, samples)
    for purpose, of_purpose in zip(purposes, found):
        for column, (epoch, sample) in zip(of_purpose.T, zip(epochs, samples)):
            assert column.tolist() == words(seed, purpose, 4, epoch, sample).tolist()


def test_all_words_below_a_limit() -> None:
    raw = np.array([0, 1, 2**32, 2**63, 2**64 - 1], np.uint64)
    for limit in (1, 2, 33, 2**32 + 1):
        assert all_below(raw, limit).tolist() == [uniform_below(word, limit) for word in raw]
