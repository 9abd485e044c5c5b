"""Update rules, by the name of the key ``optimizer``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Dict, Protocol

from manifests.record import schema
from trainer.optimizers.adam import Adam
from trainer.optimizers.elementwise import Array
from trainer.optimizers.momentum_sgd import MomentumSGD
from trainer.optimizers.rmsprop import RMSprop
from trainer.optimizers.rmsprop_warmup import RMSpropWarmup

# The folder needs NumPy alone, so its GPU code is tested where a C compiler is: beside the image.
if TYPE_CHECKING:
    import chainer


class Optimizer(Protocol):
    """Made of a network and its settings; has no state but the arrays of ``named_state``.

    So parameters, these arrays and the number of the next step are all that a checkpoint needs.
    """

    def update(self, rate: float, epoch: float, step: int) -> None:
        """Change the parameters by their (reduced) gradients, in place.

        ``rate`` is the learning rate, ``epoch`` the fractional epoch that it belongs to, ``step``
        counts the updates of the run from 1.
        """

    def named_state(self) -> Dict[str, Array]:
        """The float32 arrays themselves, no copies, each of its parameter's shape.

        They are named ``/conv1/W/velocity`` and sorted by parameter. To go on from a checkpoint
        fill them in place: ``array[...] = saved``, CuPy's from host memory by ``array.set(saved)``.
        """


OPTIMIZERS: Dict[str, Callable[[chainer.Link, schema.Optimizer], Optimizer]] = {
    "momentum_sgd": MomentumSGD,
    "adam": Adam,
    "rmsprop": RMSprop,
    "rmsprop_warmup": RMSpropWarmup,
}
