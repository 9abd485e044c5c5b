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

from typing import Any, Callable, Iterator, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
import numpy.typing as npt

from trainer.layers.channels_last import Band, Sum, bands, overlap

Array = npt.NDArray[Any]

KERNEL = 3
#: Outputs of a tile, its inputs, in each direction.
OUT, IN = 2, 4

#: Arrays of one shape, or one array that holds them.
Parts = Union[Sequence[Array], Array]

#: How to make a sum of signed parts: with which operation which part joins.
Recipe = Tuple[Tuple[Any, int], ...]


def recipes(signs: Sequence[Sequence[int]]) -> Tuple[Recipe, ...]:
    """One for each row of a matrix of signs; it begins with a part that is not subtracted."""
    return tuple(
        tuple(
            (np.add if sign > 0 else np.subtract, number)
            for number, sign in sorted(enumerate(row), key=lambda entry: -entry[1])
            if sign
        )
        for row in signs
    )


#: The signs of the last rows are turned against the paper's, which cancels.
_B_TRANSPOSED = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, -1, 0, 1))
_A_TRANSPOSED = ((1, 1, 1, 0), (0, 1, -1, 1))
B_TRANSPOSED, B = recipes(_B_TRANSPOSED), recipes(tuple(zip(*_B_TRANSPOSED)))
A_TRANSPOSED, A = recipes(_A_TRANSPOSED), recipes(tuple(zip(*_A_TRANSPOSED)))
G = ((1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.0, 0.0, 1.0))

#: Tiles that are worked on at a time, so that their arrays stay in the cache. It decides how sums
#: over tiles are grouped, hence bits: part of the format.
TILES = 256


class Tiles(NamedTuple):
    """Tiles of some images, and in those some rows of tiles; the outputs that they hold."""

    first: int
    last: int
    outputs: Band


class TilePlan(NamedTuple):
    """Shapes that follow from those of the input."""

    samples: int
    rows: int
    columns: int
    down: int  # tiles
    across: int

    def parts(self) -> Iterator[Tiles]:
        for images, tiles in bands(self.samples, self.down, -(-TILES // self.across)):
            rows = slice(tiles.start * OUT, min(tiles.stop * OUT, self.rows))
            yield Tiles(tiles.start, tiles.stop, (images, rows))


class Winograd:
    """Window 3x3, stride 1."""

    def __init__(self, pad: int) -> None:
        self.pad = pad

    def forward(self, x: Array, weights: Array, finish: Callable[[Band, Array], None]) -> Array:
        """x (N, H, W, C), weights (O, C, 3, 3) -> (N, rows, columns, O).

        ``finish`` gets each band of the output as soon as it is there, and may change it.
        """
        plan = self._plan(x)
        filters = transformed_weights(weights).transpose(0, 2, 1)
        y = np.empty((plan.samples, plan.rows, plan.columns, len(weights)), dtype=x.dtype)
        for part in plan.parts():
            band = y[part.outputs]
            put(np.matmul(self._tiles_of(x, plan, part), filters), plan, band)
            finish(part.outputs, band)
        return y

    def gradients(
        self, x: Array, weights: Array, gradient: Callable[[Band], Array], needs_gx: bool
    ) -> Tuple[Optional[Array], Array]:
        """Of x and of the weights; ``gradient`` gives that of a band of the output."""
        plan = self._plan(x)
        filters = transformed_weights(weights)
        g_filters = Sum()
        gx = np.zeros_like(x) if needs_gx else None
        for part in plan.parts():
            tiles = self._tiles_of(x, plan, part)
            g_products = gradient_tiles(gradient(part.outputs), plan)
            g_filters.add(np.matmul(g_products.transpose(0, 2, 1), tiles))
            if gx is not None:
                np.matmul(g_products, filters, out=tiles)
                self._add_back(tiles, plan, part, gx)
        return gx, gradient_of_weights(g_filters.total, weights.shape)

    def _plan(self, x: Array) -> TilePlan:
        samples, rows, columns = (
            x.shape[0],
            *(side + 2 * self.pad - KERNEL + 1 for side in x.shape[1:3]),
        )
        return TilePlan(samples, rows, columns, -(-rows // OUT), -(-columns // OUT))

    def _tiles_of(self, x: Array, plan: TilePlan, part: Tiles) -> Array:
        """B' d B of every tile: (16, tiles, C)"""
        down, across, channels = part.last - part.first, plan.across, x.shape[3]
        images = x[part.outputs[0]]
        samples = len(images)
        parted = np.zeros((2, samples, down + 1, 2, across + 1, channels), dtype=x.dtype)
        for target, source in self._parities(parted, images, part):
            target[...] = source
        half = np.empty((samples, down, 2, across + 1, channels), dtype=x.dtype)
        tiles = np.empty((IN, IN, samples, down, across, channels), dtype=x.dtype)
        rows = [parted[0, :, :-1], parted[1, :, :-1], parted[0, :, 1:], parted[1, :, 1:]]
        columns = [half[:, :, 0, :-1], half[:, :, 1, :-1], half[:, :, 0, 1:], half[:, :, 1, 1:]]
        for down_recipe, tiles_of_row in zip(B_TRANSPOSED, tiles):
            combine(down_recipe, rows, half)
            for across_recipe, target in zip(B_TRANSPOSED, tiles_of_row):
                combine(across_recipe, columns, target)
        return tiles.reshape(IN * IN, -1, channels)

    def _add_back(self, tiles: Array, plan: TilePlan, part: Tiles, gx: Array) -> None:
        """Transposed :meth:`_tiles_of`: B t B' of every tile is added to where it was taken."""
        down, across, channels = part.last - part.first, plan.across, gx.shape[3]
        images = gx[part.outputs[0]]
        samples = len(images)
        parts = tiles.reshape(IN, IN, samples, down, across, channels)
        half = np.empty((IN, samples, down, 2, across + 1, channels), dtype=gx.dtype)
        half[:, :, :, :, -1] = 0
        columns = [parts[:, number] for number in range(IN)]
        for parity in (0, 1):
            combine(B[parity], columns, half[:, :, :, parity, :-1])
            add_combined(B[parity + 2], columns, half[:, :, :, parity, 1:])
        parted = np.empty((2, samples, down + 1, 2, across + 1, channels), dtype=gx.dtype)
        parted[:, :, -1] = 0
        for parity in (0, 1):
            combine(B[parity], half, parted[parity, :, :-1])
            add_combined(B[parity + 2], half, parted[parity, :, 1:])
        for source, target in self._parities(parted, images, part):
            target += source

    def _parities(self, parted: Array, whole: Array, part: Tiles) -> Iterator[Tuple[Array, Array]]:
        """The parts of ``parted`` that lie inside of the image, and where; outside are zeros."""
        for odd_down in (0, 1):
            top = part.first * OUT - self.pad + odd_down
            rows, image_rows = overlap(top, 2, parted.shape[2], whole.shape[1])
            for odd_across in (0, 1):
                columns, image_columns = overlap(
                    odd_across - self.pad, 2, parted.shape[4], whole.shape[2]
                )
                yield (
                    parted[odd_down, :, rows, odd_across, columns],
                    whole[:, image_rows, image_columns],
                )


def put(products: Array, plan: TilePlan, y: Array) -> None:
    """A' m A of every tile: (16, tiles, O) -> (N, rows, columns, O)"""
    samples, outputs = len(y), y.shape[3]
    parts = products.reshape(IN, IN, samples, -1, plan.across, outputs)
    half = np.empty(parts.shape[1:], dtype=y.dtype)
    tile = np.empty(half.shape[1:], dtype=y.dtype)
    for odd_down, down_recipe in enumerate(A_TRANSPOSED):
        combine(down_recipe, parts, half)
        for odd_across, across_recipe in enumerate(A_TRANSPOSED):
            combine(across_recipe, half, tile)
            # Tiles at the edge may hang over it.
            target = y[:, odd_down::OUT, odd_across::OUT]
            target[...] = tile[:, : target.shape[1], : target.shape[2]]


def gradient_tiles(gy: Array, plan: TilePlan) -> Array:
    """Transposed :func:`put`: A g A' of every tile"""
    samples, outputs = len(gy), gy.shape[3]
    down = -(-gy.shape[1] // OUT)
    parted = np.zeros((OUT, samples, down, OUT, plan.across, outputs), dtype=gy.dtype)
    for odd_down in range(OUT):
        for odd_across in range(OUT):
            source = gy[:, odd_down::OUT, odd_across::OUT]
            parted[odd_down, :, : source.shape[1], odd_across, : source.shape[2]] = source
    half = np.empty(parted.shape[1:], dtype=gy.dtype)
    parts = np.empty((IN, IN, samples, down, plan.across, outputs), dtype=gy.dtype)
    columns = [half[:, :, odd] for odd in range(OUT)]
    for down_recipe, parts_of_row in zip(A, parts):
        combine(down_recipe, parted, half)
        for across_recipe, target in zip(A, parts_of_row):
            combine(across_recipe, columns, target)
    return parts.reshape(IN * IN, -1, outputs)


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


def combine(recipe: Recipe, parts: Parts, out: Array) -> None:
    """out = the first part, plus or minus the others"""
    (_, first), *others = recipe
    if not others:
        out[...] = parts[first]
        return
    (operation, second), *others = others
    operation(parts[first], parts[second], out)
    for operation, number in others:
        operation(out, parts[number], out)


def add_combined(recipe: Recipe, parts: Parts, out: Array) -> None:
    """out += the same"""
    for operation, number in recipe:
        operation(out, parts[number], out)
