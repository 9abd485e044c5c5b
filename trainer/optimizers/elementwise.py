"""What the update rules have in common: every element of a parameter is changed by itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Callable, Dict, Tuple

import chainer
import numpy as np
import numpy.typing as npt

from manifests import schema

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Rule:
    """One step of one parameter.

    ``on_host`` changes its arguments ``w`` and those named ``states`` in place; ``gradient`` it
    only reads. All are float32 arrays of one shape. ``numbers`` are float32 scalars.
    """

    states: Tuple[str, ...]
    numbers: Tuple[str, ...]
    on_host: Callable[..., None]


class Elementwise(ABC):
    """Keeps, for every parameter, one array per state of the rule; they begin with zeros."""

    rule: Rule

    def __init__(self, model: chainer.Link, settings: schema.Optimizer) -> None:
        self._settings = settings
        self._parameters = dict(sorted(model.namedparams()))
        self._states: Dict[str, Dict[str, Array]] = {
            name: {state: zeros_like(parameter.array) for state in self.rule.states}
            for name, parameter in self._parameters.items()
        }

    @abstractmethod
    def numbers(self, rate: float, epoch: float, step: int) -> Dict[str, float]:
        """The rule's numbers at this step; they are rounded to float32 afterwards."""

    def update(self, rate: float, epoch: float, step: int) -> None:
        rounded = {
            name: np.float32(value) for name, value in self.numbers(rate, epoch, step).items()
        }
        for name, parameter in self._parameters.items():
            self.rule.on_host(
                w=parameter.array, gradient=parameter.grad, **self._states[name], **rounded
            )

    def named_state(self) -> Dict[str, Array]:
        return {
            f"{name}/{state}": array
            for name, states in self._states.items()
            for state, array in states.items()
        }


def zeros_like(array: Any) -> Any:
    return chainer.backend.get_array_module(array).zeros_like(array)
