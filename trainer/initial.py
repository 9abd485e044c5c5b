"""Parameters before the first step: a pure function of the seed, each one's name and shape."""

from __future__ import annotations

import math
from typing import Any, Callable

import chainer
import numpy as np
import numpy.typing as npt

from trainer.randomness import Purpose, name_word, unit_floats, words

#: Values that are drawn from words at a time: bounds the memory, changes no value.
CHUNK = 1 << 20


def he_limit(shape: tuple[int, ...]) -> float:
    """Limit of the uniform distribution whose variance is 2 / fan-in (He, Zhang, Ren, Sun 2015,
    "Delving deep into rectifiers", equation 10)."""
    fan_in = int(np.prod(shape[1:]))
    return math.sqrt(6.0 / fan_in)


def uniform(seed: int, name: str, shape: tuple[int, ...], limit: float) -> npt.NDArray[np.float32]:
    """Values between -limit and limit.

    Uniform rather than normal, because it takes nothing but exact arithmetic and one square
    root, which IEEE 754 rounds correctly: the values are the same on every CPU.
    """
    extra = name_word(f"{name} {'x'.join(map(str, shape))}")
    raw = words(seed, Purpose.INITIAL_WEIGHTS, int(np.prod(shape)), extra=extra)
    values = np.empty(raw.shape, dtype=np.float32)
    for start in range(0, len(raw), CHUNK):
        part = slice(start, start + CHUNK)
        values[part] = (unit_floats(raw[part]) * 2.0 - 1.0) * limit
    return values.reshape(shape)


def set_initial(
    model: chainer.Link,
    seed: int,
    limit: Callable[[tuple[int, ...]], float] = he_limit,
) -> None:
    """Draw every parameter of two or more dimensions; the others keep their link's constant."""
    for name, parameter in sorted(model.namedparams()):
        shape = parameter.shape
        if len(shape) >= 2:
            parameter.array[...] = uniform(seed, name, shape, limit(shape))


def named_arrays(model: chainer.Link) -> dict[str, npt.NDArray[Any]]:
    return {name: parameter.array for name, parameter in sorted(model.namedparams())}


def named_gradients(model: chainer.Link) -> dict[str, npt.NDArray[Any]]:
    return {
        name: parameter.grad
        for name, parameter in sorted(model.namedparams())
        if parameter.grad is not None
    }
