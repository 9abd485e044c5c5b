"""Parameters before the first step: a pure function of the seed, each one's name and shape."""

from __future__ import annotations

from typing import Any

import chainer
import numpy as np
import numpy.typing as npt

from trainer.randomness import Purpose, name_word, unit_floats, words


def he_uniform(seed: int, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Uniform with variance 2 / fan-in (He, Zhang, Ren, Sun 2015, equation 10).

    Uniform rather than normal, because it takes nothing but exact arithmetic and one square
    root, which IEEE 754 rounds correctly: the values are the same on every CPU.
    """
    fan_in = int(np.prod(shape[1:]))
    extra = name_word(f"{name} {'x'.join(map(str, shape))}")
    raw = words(seed, Purpose.INITIAL_WEIGHTS, int(np.prod(shape)), extra=extra)
    limit = np.sqrt(np.float64(6.0) / fan_in)
    values = (unit_floats(raw) * 2.0 - 1.0) * limit
    return np.asarray(values, dtype=np.float32).reshape(shape)


def set_initial(model: chainer.Link, seed: int) -> None:
    """Draw every parameter of two or more dimensions; the others keep their link's constant."""
    for name, parameter in sorted(model.namedparams()):
        if parameter.array.ndim >= 2:
            parameter.array[...] = he_uniform(seed, name, parameter.shape)


def named_arrays(model: chainer.Link) -> dict[str, npt.NDArray[Any]]:
    return {name: parameter.array for name, parameter in sorted(model.namedparams())}


def named_gradients(model: chainer.Link) -> dict[str, npt.NDArray[Any]]:
    return {
        name: parameter.grad
        for name, parameter in sorted(model.namedparams())
        if parameter.grad is not None
    }
