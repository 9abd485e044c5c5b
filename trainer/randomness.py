"""Every random choice, as a pure function of what it is for; there is no generator with a state.

Philox-4x64-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3")
turns a key and a counter into words: key = (seed, purpose), counter = (0, epoch, sample, extra).
Only raw words are taken from NumPy and turned into numbers by integer and exact floating-point
arithmetic here, because NumPy keeps the streams of its distributions for no longer than a
version (NEP 19) and its ``log`` and ``cos`` differ between CPUs.
"""

from __future__ import annotations

import hashlib
from enum import IntEnum
from typing import Sequence

import numpy as np
import numpy.typing as npt


class Purpose(IntEnum):
    """What a choice is for; the numbers are part of the format and never reused."""

    PERMUTATION = 1
    CROP = 2
    FLIP = 3
    DROPOUT = 4
    INITIAL_WEIGHTS = 5


def words(
    seed: int, purpose: Purpose, count: int, epoch: int = 0, sample: int = 0, extra: int = 0
) -> npt.NDArray[np.uint64]:
    """Return ``count`` independent uint64 words."""
    generator = np.random.Philox(
        key=np.array([seed, int(purpose)], dtype=np.uint64),
        counter=np.array([0, epoch, sample, extra], dtype=np.uint64),
    )
    return np.asarray(generator.random_raw(count), dtype=np.uint64)


def first_words(
    seed: int, purposes: Sequence[Purpose], epochs: Sequence[int], samples: Sequence[int]
) -> npt.NDArray[np.uint64]:
    """The first four words of many samples at once, uint64 (purposes, 4, n): ``words(seed, purpose,
    4, epoch, sample)`` of each, in some hundredths of the time.

    The ten rounds of Philox-4x64 as Salmon et al. write them down (section 3.3), with their
    multipliers and Weyl constants. NumPy's generator adds 1 to the counter before its first block.
    What is multiplied lies in one array and what is not in another, so that a round is few calls.
    """
    factors, key = (
        np.array([[_MULTIPLIERS]], np.uint64).T,
        np.empty((2, len(purposes), 1), np.uint64),
    )
    key[0], key[1, :, 0] = seed, purposes
    weyl = np.array([[_WEYL]], np.uint64).T
    multiplied = np.empty((2, len(purposes), len(samples)), np.uint64)  # words 0 and 2
    multiplied[0], multiplied[1] = 1, _unsigned(samples)
    others = np.zeros_like(multiplied)  # words 1 and 3
    others[0] = _unsigned(epochs)
    for _ in range(10):
        high, low = _product(multiplied, factors)
        multiplied = high[::-1] ^ others ^ key
        others = low[::-1]
        key += weyl  # modulo 2**64, as all of this
    return np.stack([multiplied, others], axis=1).reshape(4, *multiplied.shape[1:]).swapaxes(0, 1)


_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
_HALF, _LOWER = np.uint64(32), np.uint64(2**32 - 1)


def _unsigned(numbers: Sequence[int]) -> npt.NDArray[np.uint64]:
    return np.asarray(numbers, dtype=np.uint64)


def _product(
    words: npt.NDArray[np.uint64], factor: npt.NDArray[np.uint64]
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """The upper and the lower 64 bits of the 128 of words * factor; both below 2**64."""
    upper, lower = factor >> _HALF, factor & _LOWER
    words_upper, words_lower = words >> _HALF, words & _LOWER
    middle = words_upper * lower + (words_lower * lower >> _HALF)
    other = words_lower * upper + (middle & _LOWER)
    high = words_upper * upper + (middle >> _HALF) + (other >> _HALF)
    return high, words * factor


def all_below(words: npt.NDArray[np.uint64], limit: int) -> npt.NDArray[np.uint64]:
    """:func:`uniform_below` of each word."""
    return _product(words, np.array(limit, np.uint64))[0]


def uniform_below(word: int, limit: int) -> int:
    """Map a 64-bit word to 0 … limit - 1; the bias is below limit / 2**64."""
    return (int(word) * limit) >> 64


def unit_floats(raw: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
    """Map words to float64 in [0, 1): the upper 53 bits, exactly."""
    return np.asarray((raw >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def permutation(seed: int, epoch: int, size: int) -> npt.NDArray[np.int64]:
    """The order of an epoch's samples: the ranking of one word per sample; ties by index."""
    raw = words(seed, Purpose.PERMUTATION, size, epoch=epoch)
    return np.argsort(raw, kind="stable").astype(np.int64)


def name_word(name: str) -> int:
    """A word for a layer or a parameter, so that adding one does not move the others."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8")).digest()[:8], "little")


def dropout_mask(
    seed: int,
    layer: str,
    ratio: float,
    epochs: Sequence[int],
    samples: Sequence[int],
    shape: tuple[int, ...],
) -> npt.NDArray[np.float32]:
    """Mask of shape (len(samples), *shape), float32: 0 with probability ``ratio``, else
    1 / (1 - ratio), so that the expected value of mask * x is x."""
    count = int(np.prod(shape))
    extra = name_word(layer)
    # 16 bits per unit: the probability is exact to 2**-16, at a quarter of the words.
    limit = round(ratio * 2**16)
    scale = np.float32(1.0 / (1.0 - limit / 2**16))
    # Samples run fastest in memory, as in trainer.layers.convolution.
    mask = np.empty((count, len(samples)), dtype=np.float32)
    for column, (epoch, sample) in enumerate(zip(epochs, samples)):
        raw = words(seed, Purpose.DROPOUT, -(-count // 4), epoch, sample, extra)
        kept = raw.astype("<u8").view("<u2")[:count] >= limit
        mask[:, column] = kept * scale
    return np.moveaxis(mask.reshape(*shape, len(samples)), -1, 0)
