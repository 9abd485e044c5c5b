"""Digests of arrays in a GPU's memory, computed there: sha256 over the sha256 of each 64 KiB.

One thread per block, so a network's tensors are digested at once and only 32 bytes for each block
leave the GPU. sha256 itself goes through its message from front to back and cannot be shared out.
"""

from __future__ import annotations

import hashlib
from functools import cache
from math import isqrt
from typing import Any, Dict, Iterator, List, Mapping, Sequence, Tuple

import numpy as np
import numpy.typing as npt

#: Bytes; part of the format.
BLOCK = 1 << 16
THREADS = 64


def primes(count: int) -> List[int]:
    found: List[int] = []
    number = 2
    while len(found) < count:
        if all(number % prime for prime in found):
            found.append(number)
        number += 1
    return found


def cube_root(number: int) -> int:
    """Rounded down."""
    low, high = 0, 1 << -(-number.bit_length() // 3)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**3 <= number else (low, middle - 1)
    return low


def in_c(values: Iterator[int]) -> str:
    return ", ".join(f"0x{value & 0xFFFFFFFF:08x}u" for value in values)


#: FIPS 180-4 (Secure Hash Standard), sections 4.2.2 and 5.3.3: the first 32 bits of the fractional
#: parts of the cube roots of the first 64 primes, and of the square roots of the first 8.
ROUND_CONSTANTS = in_c(cube_root(prime << 96) for prime in primes(64))
FIRST_STATE = in_c(isqrt(prime << 64) for prime in primes(8))

#: CUDA as well as C: CONSTANT, FUNCTION and UNROLL are defined by who compiles it.
SHA256 = f"""
CONSTANT unsigned int ROUND[64] = {{{ROUND_CONSTANTS}}};

FUNCTION unsigned int rotated(unsigned int x, int by) {{ return x >> by | x << (32 - by); }}

/* One block of 16 words into the state: FIPS 180-4, section 6.2.2. */
FUNCTION void absorb(unsigned int *state, unsigned int *w) {{
    unsigned int a = state[0], b = state[1], c = state[2], d = state[3];
    unsigned int e = state[4], f = state[5], g = state[6], h = state[7];
    UNROLL
    for (int t = 0; t < 64; ++t) {{
        if (t >= 16) {{
            const unsigned int x = w[(t + 1) & 15], y = w[(t + 14) & 15];
            w[t & 15] += (rotated(x, 7) ^ rotated(x, 18) ^ x >> 3) + w[(t + 9) & 15]
                + (rotated(y, 17) ^ rotated(y, 19) ^ y >> 10);
        }}
        const unsigned int one = h + (rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25))
            + ((e & f) ^ (~e & g)) + ROUND[t] + w[t & 15];
        const unsigned int two = (rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22))
            + ((a & b) ^ (a & c) ^ (b & c));
        h = g; g = f; f = e; e = d + one;
        d = c; c = b; b = a; a = one + two;
    }}
    state[0] += a; state[1] += b; state[2] += c; state[3] += d;
    state[4] += e; state[5] += f; state[6] += g; state[7] += h;
}}

/* Big-endian word k of the padded message (section 5.1.1), its length excepted. */
FUNCTION unsigned int message_word(const unsigned int *data, unsigned int length, unsigned int k) {{
    if (4 * k + 4 <= length) {{
        const unsigned int v = data[k];
        return v >> 24 | (v >> 8 & 0xff00u) | (v << 8 & 0xff0000u) | v << 24;
    }}
    unsigned int v = 0;
    for (unsigned int at = 4 * k; at < 4 * k + 4; ++at) {{
        const unsigned int byte =
            at < length ? ((const unsigned char *)data)[at] : at == length ? 0x80u : 0u;
        v = v << 8 | byte;
    }}
    return v;
}}

/* data is aligned to 4 bytes, length below 2^29. */
FUNCTION void sha256(const unsigned int *data, unsigned int length, unsigned int *digest) {{
    unsigned int state[8] = {{{FIRST_STATE}}};
    const unsigned int blocks = (length + 8) / 64 + 1;
    for (unsigned int block = 0; block < blocks; ++block) {{
        unsigned int w[16];
        UNROLL
        for (unsigned int k = 0; k < 16; ++k) w[k] = message_word(data, length, 16 * block + k);
        if (block == blocks - 1) w[15] = length << 3;
        absorb(state, w);
    }}
    for (int k = 0; k < 8; ++k) digest[k] = state[k];
}}
"""

KERNEL = f"""
#define CONSTANT __constant__
#define FUNCTION __device__ static
#define UNROLL _Pragma("unroll")
{SHA256}
extern "C" __global__ void block_digests(
    const unsigned long long *places, const unsigned int *lengths, unsigned int *digests,
    unsigned int count
) {{
    const unsigned int k = blockIdx.x * blockDim.x + threadIdx.x;
    if (k < count) sha256((const unsigned int *)places[k], lengths[k], digests + 8 * k);
}}
"""


@cache
def kernel() -> Any:
    import cupy

    return cupy.RawKernel(KERNEL, "block_digests")


def digest_head(name: str, array: Any) -> bytes:
    """What a tensor's digest begins with: name, dtype and shape."""
    shape = ",".join(map(str, array.shape))
    return f"{name}\n{array.dtype.str}\n{shape}\n".encode()


def block_lengths(size: int) -> npt.NDArray[np.uint32]:
    """Of the blocks of so many bytes; the last one may be shorter."""
    starts = np.arange(0, size, BLOCK)
    return np.minimum(size - starts, BLOCK).astype(np.uint32)


def put_together(head: bytes, digests: bytes) -> str:
    """First 32 hexadecimal digits of sha256 over the head and the 32 bytes of each block."""
    return hashlib.sha256(head + digests).hexdigest()[:32]


def on_host(name: str, array: npt.NDArray[Any]) -> str:
    """The digest that the same bytes have in a GPU's memory."""
    data = np.ascontiguousarray(array).tobytes()
    blocks = (data[start : start + BLOCK] for start in range(0, len(data), BLOCK))
    return put_together(
        digest_head(name, array), b"".join(hashlib.sha256(block).digest() for block in blocks)
    )


class PendingDigests:
    """Digests that the GPU is still computing, of the arrays as they were when this was made."""

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        import cupy

        self.heads = [digest_head(name, array) for name, array in arrays.items()]
        self.names = list(arrays)
        # Kept until the kernel is behind us; work on the same stream comes after it.
        self._arrays = [whole_words(cupy, array) for array in arrays.values()]
        each = [block_lengths(array.nbytes) for array in self._arrays]
        self.counts = [len(lengths) for lengths in each]
        places = [
            array.data.ptr + np.arange(len(lengths), dtype=np.uint64) * np.uint64(BLOCK)
            for array, lengths in zip(self._arrays, each)
        ]
        count = sum(self.counts)
        self.blocks = cupy.empty((count, 8), np.uint32)
        if count:
            table = cupy.asarray(np.concatenate(places)), cupy.asarray(np.concatenate(each))
            grid = (-(-count // THREADS),)
            kernel()(grid, (THREADS,), (*table, self.blocks, np.uint32(count)))

    @staticmethod
    def collect(pending: Sequence[PendingDigests]) -> List[Dict[str, str]]:
        """Wait for the GPU; all blocks come in one copy."""
        import cupy

        words = cupy.concatenate([each.blocks for each in pending]).get()
        return list(digests_of(words, [(each.names, each.heads, each.counts) for each in pending]))


def whole_words(cupy: Any, array: Any) -> Any:
    """In C order, beginning at a multiple of four bytes."""
    array = cupy.ascontiguousarray(array)
    return array if array.data.ptr % 4 == 0 else array.copy()


def digests_of(
    words: npt.NDArray[np.uint32],
    tensors: Sequence[Tuple[Sequence[str], Sequence[bytes], Sequence[int]]],
) -> Iterator[Dict[str, str]]:
    """``words`` (blocks, 8); names, heads and numbers of blocks of each group of tensors."""
    rows = words.astype(">u4")
    start = 0
    for names, heads, counts in tensors:
        group = {}
        for name, head, count in zip(names, heads, counts):
            group[name] = put_together(head, rows[start : start + count].tobytes())
            start += count
        yield group
