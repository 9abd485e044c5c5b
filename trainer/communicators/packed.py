"""All gradients of a network in one float32 buffer, in the order of the parameters' names."""

from __future__ import annotations

from typing import Callable, List, Optional

import chainer
import numpy as np
import numpy.typing as npt

Buffer = npt.NDArray[np.float32]


class Packed:
    """Keeps its buffer from step to step."""

    def __init__(self) -> None:
        self._buffer: Optional[Buffer] = None

    def average(self, model: chainer.Link, ranks: int, add: Callable[[Buffer], Buffer]) -> None:
        """Replace each gradient by its mean; ``add`` maps this rank's buffer to the sum.

        The sum is multiplied by float32(1 / ranks), as ChainerMN does it.
        """
        gradients = [p.grad for _, p in sorted(model.namedparams()) if p.grad is not None]
        size = sum(gradient.size for gradient in gradients)
        if self._buffer is None or self._buffer.size != size:
            self._buffer = np.empty(size, np.float32)
        ends: List[int] = list(np.cumsum([gradient.size for gradient in gradients]))
        for end, gradient in zip(ends, gradients):
            self._buffer[end - gradient.size : end] = gradient.ravel()
        total = add(self._buffer)
        total *= np.float32(1.0 / ranks)
        for end, gradient in zip(ends, gradients):
            gradient[...] = total[end - gradient.size : end].reshape(gradient.shape)
