"""All gradients of a network in one float32 buffer, in the order of the parameters' names."""

from __future__ import annotations

from typing import Any, Callable, Iterator, List, Optional, Tuple

import chainer
import numpy as np
import numpy.typing as npt

from trainer.gpu.gpu import Gpu

#: One dimension; NumPy's, or CuPy's.
Buffer = npt.NDArray[np.float32]


class PackedGradients:
    """Keeps its buffer from step to step."""

    def __init__(self, ranks: int, gpu: Optional[Gpu] = None, unit: int = 1) -> None:
        """``unit``: the buffer is filled up with zeros to a multiple of so many elements."""
        self._ranks = ranks
        self._arrays = np if gpu is None else gpu.cupy
        self._unit = unit
        self._buffer: Optional[Buffer] = None

    def average(self, model: chainer.Link, add: Callable[[Buffer], None]) -> None:
        """Replace each gradient by its mean; ``add`` replaces a rank's buffer by the sum of all."""
        add(self.pack(model))
        self.unpack_mean(model)

    def buffer(self, model: chainer.Link) -> Buffer:
        """As it is: what was packed last."""
        size = sum(gradient.size for gradient in gradients_of(model))
        whole = -(-size // self._unit) * self._unit
        if self._buffer is None or self._buffer.size != whole:
            self._buffer = self._arrays.zeros(whole, np.float32)
        return self._buffer

    def pack(self, model: chainer.Link) -> Buffer:
        """The buffer, filled with the gradients of a rank."""
        buffer = self.buffer(model)
        for place, gradient in self._places(model):
            buffer[place] = gradient.ravel()
        return buffer

    def unpack_mean(self, model: chainer.Link) -> None:
        """The buffer holds the sum of all ranks: set each gradient to its part of the mean.

        The sum is multiplied by float32(1 / ranks), as ChainerMN does it.
        """
        buffer = self.buffer(model)
        buffer *= np.float32(1.0 / self._ranks)
        for place, gradient in self._places(model):
            gradient[...] = buffer[place].reshape(gradient.shape)

    def _places(self, model: chainer.Link) -> Iterator[Tuple[slice, Any]]:
        end = 0
        for gradient in gradients_of(model):
            end += gradient.size
            yield slice(end - gradient.size, end), gradient


def gradients_of(model: chainer.Link) -> List[Any]:
    return [p.grad for _, p in sorted(model.namedparams()) if p.grad is not None]
