"""All gradients of a network in one float32 buffer, in the order of the parameters' names."""

from __future__ import annotations

from typing import Any, Callable, List, Optional

import chainer
import numpy as np
import numpy.typing as npt

from trainer.gpu.gpu import Gpu

#: One dimension; NumPy's, or CuPy's.
Buffer = npt.NDArray[np.float32]


class Packed:
    """Keeps its buffer from step to step."""

    def __init__(self, ranks: int, gpu: Optional[Gpu] = None, unit: int = 1) -> None:
        """``unit``: the buffer is filled up with zeros to a multiple of so many elements."""
        self._ranks = ranks
        self._arrays = np if gpu is None else gpu.cupy
        self._unit = unit
        self._buffer: Optional[Buffer] = None

    def average(self, model: chainer.Link, add: Callable[[Buffer], None]) -> None:
        """Replace each gradient by its mean; ``add`` replaces a rank's buffer by the sum of all.

        The sum is multiplied by float32(1 / ranks), as ChainerMN does it.
        """
        gradients = gradients_of(model)
        size = sum(gradient.size for gradient in gradients)
        whole = -(-size // self._unit) * self._unit
        if self._buffer is None or self._buffer.size != whole:
            self._buffer = self._arrays.zeros(whole, np.float32)
        ends: List[int] = list(np.cumsum([gradient.size for gradient in gradients]))
        for end, gradient in zip(ends, gradients):
            self._buffer[end - gradient.size : end] = gradient.ravel()
        add(self._buffer)
        self._buffer *= np.float32(1.0 / self._ranks)
        for end, gradient in zip(ends, gradients):
            gradient[...] = self._buffer[end - gradient.size : end].reshape(gradient.shape)


def gradients_of(model: chainer.Link) -> List[Any]:
    return [p.grad for _, p in sorted(model.namedparams()) if p.grad is not None]
