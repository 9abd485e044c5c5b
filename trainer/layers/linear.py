"""Fully connected layers."""

from __future__ import annotations

from typing import Any, Optional

import chainer
import numpy as np

from trainer.layers import cudnn


class Linear(chainer.Link):  # type: ignore[misc]
    """(N, …) -> (N, outputs); ``inputs`` is the size of one sample.

    Weights are set by :mod:`trainer.initial`; Chainer's own link would draw them from NumPy's
    global state first. Biases begin at ``bias``, None means no biases.
    """

    def __init__(self, inputs: int, outputs: int, bias: Optional[float] = 0.0) -> None:
        super().__init__()
        with self.init_scope():
            self.W = chainer.Parameter(np.float32(0), (outputs, inputs))
            self.b = None if bias is None else chainer.Parameter(np.float32(bias), (outputs,))

    def forward(self, x: Any) -> chainer.Variable:
        return cudnn.linear(x, self.W, self.b)
