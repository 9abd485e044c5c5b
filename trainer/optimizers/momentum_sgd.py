"""Stochastic gradient descent with momentum, in the form of Chainer's MomentumSGD."""

from __future__ import annotations

from typing import NamedTuple

from trainer.optimizers.elementwise import Array, Elementwise, Rule


class Numbers(NamedTuple):
    momentum: float
    rate: float


def on_host(w: Array, g: Array, velocity: Array, n: Numbers) -> None:
    velocity[...] = velocity * n.momentum - g * n.rate
    w += velocity


class MomentumSGD(Elementwise):
    """v = momentum * v - rate * g;  w += v;  all in float32.

    The velocity holds the rates of its steps and is not scaled when the rate changes, as Goyal et
    al. 2017 do in their remark 2; Chainer's does not either.
    """

    rule = Rule(
        name="momentum_sgd",
        states=("velocity",),
        numbers=Numbers,
        on_host=on_host,
        on_gpu="""
            velocity = sub_rn(mul_rn(velocity, momentum), mul_rn(g, rate));
            w = add_rn(w, velocity);
        """,
    )

    def numbers(self, rate: float, epoch: float, step: int) -> Numbers:
        return Numbers(momentum=self._settings.momentum, rate=rate)
