"""Convolution with 3x3 windows in 16 multiplications instead of 36 for each 2x2 outputs.

Winograd's minimal filtering F(2x2, 3x3) as in Lavin and Gray 2015, arXiv:1509.09308, section 4.1:
outputs are made in tiles of 2x2 from tiles of 4x4 inputs, ``y = A' ((G w G') * (B' d B)) A`` where
``*`` goes element by element and its sum over channels is a matrix product. Inputs and outputs are
only added and subtracted, so errors are as small as those of the plain sum; larger tiles, which
multiply by up to 5, would save more and err twenty times as much. Gradients are the transposed
steps in reverse order.

All arrays are (N, H, W, C). Rows and columns are kept apart by parity while tiles are taken or put
back: then the pieces of neighbouring tiles are one contiguous run.
"""

from __future__ import annotations

from typing import Any, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import numpy.typing as npt

from trainer.models.channels_last import overlap

Array = npt.NDArray[Any]

KERNEL = 3
#: Outputs of a tile, its inputs, in each direction.
OUT, IN = 2, 4

#: The signs of the last row of each are turned against the paper's, which cancels.
B_TRANSPOSED = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, -1, 0, 1))
A_TRANSPOSED = ((1, 1, 1, 0), (0, 1, -1, 1))
G = ((1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.0, 0.0, 1.0))
B = tuple(zip(*B_TRANSPOSED))
A = tuple(zip(*A_TRANSPOSED))

#: Tiles that are worked on at a time, so that their arrays stay in the cache. It decides how sums
#: over tiles are grouped, hence bits: part of the format.
TILES = 256


class Band(NamedTuple):
    """Tiles of some images, and in those of some rows of tiles."""

    images: slice
    first: int
    last: int


class Plan(NamedTuple):
    """Shapes that follow from those of the input."""

    samples: int
    rows: int
    columns: int
    down: int  # tiles
    across: int

    def bands(self) -> Iterator[Band]:
        each = self.down * self.across
        if each >= TILES:
            height = -(-self.down // -(-each // TILES))
            for image in range(self.samples):
                for first in range(0, self.down, height):
                    last = min(first + height, self.down)
                    yield Band(slice(image, image + 1), first, last)
        else:
            images = -(-self.samples // -(-self.samples * each // TILES))
            for start in range(0, self.samples, images):
                yield Band(slice(start, min(start + images, self.samples)), 0, self.down)


class Winograd:
    """Window 3x3, stride 1."""

    def __init__(self, pad: int) -> None:
        self.pad = pad

    def forward(self, x: Array, weights: Array, bias: Optional[Array], relu: bool) -> Array:
        """x (N, H, W, C), weights (O, C, 3, 3), bias (O,) -> (N, rows, columns, O)"""
        plan = self._plan(x)
        outputs = len(weights)
        filters = transformed_weights(weights).transpose(0, 2, 1)
        y = np.empty((plan.samples, plan.rows, plan.columns, outputs), dtype=x.dtype)
        for band in plan.bands():
            products = np.matmul(self._tiles_of(x, plan, band), filters)
            self._put(products, plan, band, y, bias, relu)
        return y

    def gradients(
        self, x: Array, weights: Array, gy: Array, needs_gx: bool
    ) -> Tuple[Optional[Array], Array]:
        plan = self._plan(x)
        filters = transformed_weights(weights)
        g_filters = np.zeros_like(filters)
        gx = np.zeros_like(x) if needs_gx else None
        for band in plan.bands():
            tiles = self._tiles_of(x, plan, band)
            g_products = self._taken(gy, plan, band)
            g_filters += np.matmul(g_products.transpose(0, 2, 1), tiles)
            if gx is not None:
                np.matmul(g_products, filters, out=tiles)
                self._add_back(tiles, plan, band, gx)
        return gx, gradient_of_weights(g_filters, weights.shape)

    def _plan(self, x: Array) -> Plan:
        samples, rows, columns = (
            x.shape[0],
            *(side + 2 * self.pad - KERNEL + 1 for side in x.shape[1:3]),
        )
        return Plan(samples, rows, columns, -(-rows // OUT), -(-columns // OUT))

    def _tiles_of(self, x: Array, plan: Plan, band: Band) -> Array:
        """B' d B of every tile: (16, tiles of the band, C)"""
        down, across, channels = band.last - band.first, plan.across, x.shape[3]
        samples = len(x[band.images])
        parted = np.zeros((2, samples, down + 1, 2, across + 1, channels), dtype=x.dtype)
        for target, source in self._parities(parted, x[band.images], band):
            target[...] = source
        half = np.empty((samples, down, 2, across + 1, channels), dtype=x.dtype)
        tiles = np.empty((IN, IN, samples, down, across, channels), dtype=x.dtype)
        rows = [parted[0, :, :-1], parted[1, :, :-1], parted[0, :, 1:], parted[1, :, 1:]]
        columns = [half[:, :, 0, :-1], half[:, :, 1, :-1], half[:, :, 0, 1:], half[:, :, 1, 1:]]
        for signs_down, tiles_of_row in zip(B_TRANSPOSED, tiles):
            combine(signs_down, rows, half)
            for signs_across, target in zip(B_TRANSPOSED, tiles_of_row):
                combine(signs_across, columns, target)
        return tiles.reshape(IN * IN, -1, channels)

    def _add_back(self, tiles: Array, plan: Plan, band: Band, gx: Array) -> None:
        """Transposed :meth:`_tiles_of`: B t B' of every tile is added to where it was taken."""
        down, across, channels = band.last - band.first, plan.across, gx.shape[3]
        samples = len(gx[band.images])
        parts = tiles.reshape(IN, IN, samples, down, across, channels)
        half = np.empty((IN, samples, down, 2, across + 1, channels), dtype=gx.dtype)
        half[:, :, :, :, -1] = 0
        columns = [parts[:, number] for number in range(IN)]
        for parity in (0, 1):
            combine(B[parity], columns, half[:, :, :, parity, :-1])
            combine(B[parity + 2], columns, half[:, :, :, parity, 1:], add=True)
        parted = np.empty((2, samples, down + 1, 2, across + 1, channels), dtype=gx.dtype)
        parted[:, :, -1] = 0
        for parity in (0, 1):
            combine(B[parity], half, parted[parity, :, :-1])
            combine(B[parity + 2], half, parted[parity, :, 1:], add=True)
        for source, target in self._parities(parted, gx[band.images], band):
            target += source

    def _parities(self, parted: Array, whole: Array, band: Band) -> Iterator[Tuple[Array, Array]]:
        """The parts of ``parted`` that lie inside of the image, and where; outside are zeros."""
        for odd_down in (0, 1):
            top = band.first * OUT - self.pad + odd_down
            rows, image_rows = overlap(top, 2, parted.shape[2], whole.shape[1])
            for odd_across in (0, 1):
                columns, image_columns = overlap(
                    odd_across - self.pad, 2, parted.shape[4], whole.shape[2]
                )
                yield (
                    parted[odd_down, :, rows, odd_across, columns],
                    whole[:, image_rows, image_columns],
                )

    def _put(
        self,
        products: Array,
        plan: Plan,
        band: Band,
        y: Array,
        bias: Optional[Array],
        relu: bool,
    ) -> None:
        """A' m A of every tile, bias and ReLU."""
        down, outputs = band.last - band.first, y.shape[3]
        samples = len(y[band.images])
        parts = products.reshape(IN, IN, samples, down, plan.across, outputs)
        half = np.empty(parts.shape[1:], dtype=y.dtype)
        tile = np.empty(half.shape[1:], dtype=y.dtype)
        for odd_down, signs_down in enumerate(A_TRANSPOSED):
            combine(signs_down, parts, half)
            for odd_across, signs_across in enumerate(A_TRANSPOSED):
                combine(signs_across, half, tile)
                if bias is not None:
                    tile += bias
                target = self._outputs(y, band, odd_down, odd_across)
                inside = tile[:, : target.shape[1], : target.shape[2]]
                if relu:
                    np.maximum(inside, 0, out=target)
                else:
                    target[...] = inside

    def _taken(self, gy: Array, plan: Plan, band: Band) -> Array:
        """Transposed :meth:`_put`: A g A' of every tile, (16, tiles of the band, O)"""
        down, outputs = band.last - band.first, gy.shape[3]
        samples = len(gy[band.images])
        parted = np.zeros((OUT, samples, down, OUT, plan.across, outputs), dtype=gy.dtype)
        for odd_down in range(OUT):
            for odd_across in range(OUT):
                source = self._outputs(gy, band, odd_down, odd_across)
                parted[odd_down, :, : source.shape[1], odd_across, : source.shape[2]] = source
        half = np.empty(parted.shape[1:], dtype=gy.dtype)
        parts = np.empty((IN, IN, samples, down, plan.across, outputs), dtype=gy.dtype)
        columns = [half[:, :, odd] for odd in range(OUT)]
        for signs_down, parts_of_row in zip(A, parts):
            combine(signs_down, parted, half)
            for signs_across, target in zip(A, parts_of_row):
                combine(signs_across, columns, target)
        return parts.reshape(IN * IN, -1, outputs)

    def _outputs(self, y: Array, band: Band, odd_down: int, odd_across: int) -> Array:
        """One output of every tile of the band; tiles at the edge may not have it."""
        first = band.first * OUT + odd_down
        return y[band.images, first : band.last * OUT : OUT, odd_across::OUT]


def transformed_weights(weights: Array) -> Array:
    """(O, C, 3, 3) -> G w G' as (16, O, C)"""
    outputs, channels = weights.shape[:2]
    table = np.kron(G, G).astype(weights.dtype)
    return (table @ weights.reshape(-1, KERNEL * KERNEL).T).reshape(-1, outputs, channels)


def gradient_of_weights(g_filters: Array, shape: Tuple[int, ...]) -> Array:
    """Transposed :func:`transformed_weights`."""
    table = np.kron(G, G).astype(g_filters.dtype)
    flat: Array = g_filters.reshape(len(table), -1).T @ table
    return flat.reshape(shape)


def combine(signs: Sequence[int], parts: Sequence[Array], out: Array, add: bool = False) -> None:
    """out = sum of sign * part, or out += it; one sign at least is not zero, the first is not -1
    unless others follow."""
    terms: List[Tuple[int, Array]] = [pair for pair in zip(signs, parts) if pair[0]]
    if not add:
        terms.sort(key=lambda term: -term[0])
        (_, first), *terms = terms
        if not terms:
            out[...] = first
            return
        (sign, second), *terms = terms
        (np.add if sign > 0 else np.subtract)(first, second, out=out)
    for sign, part in terms:
        (np.add if sign > 0 else np.subtract)(out, part, out=out)
