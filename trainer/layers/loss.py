"""Softmax cross entropy: what training minimises and evaluation reports."""

from __future__ import annotations

from typing import Any, Tuple

import chainer
import chainer.functions as F
import numpy as np

from trainer.layers.cudnn import on_gpu


class CrossEntropy(chainer.FunctionNode):  # type: ignore[misc]
    """-log softmax(scores)[label] per sample, (n, nclasses) and (n,) -> (n,) float32.

    All in float32 whatever the scores are; made of operations that NumPy and CuPy share.
    """

    def forward(self, inputs: Tuple[Any, ...]) -> Tuple[Any]:
        scores, labels = inputs
        xp = chainer.backend.get_array_module(scores)
        wide = scores.astype(np.float32)
        wide = wide - wide.max(axis=1, keepdims=True)
        logs = wide - xp.log(xp.exp(wide).sum(axis=1, keepdims=True))
        self._labels = labels[:, None]
        self._shares = xp.exp(logs)
        self._dtype = scores.dtype
        return (-xp.take_along_axis(logs, self._labels, axis=1)[:, 0],)

    def backward(
        self, indexes: Tuple[int, ...], grad_outputs: Tuple[chainer.Variable]
    ) -> Tuple[Any, ...]:
        del indexes
        xp = chainer.backend.get_array_module(self._shares)
        own = xp.arange(self._shares.shape[1]) == self._labels
        gradient = (self._shares - own.astype(np.float32)) * grad_outputs[0].array[:, None]
        return chainer.as_variable(gradient.astype(self._dtype)), None


def cross_entropy(scores: Any, labels: Any) -> chainer.Variable:
    """The mean over the batch."""
    if not on_gpu(scores):
        return F.softmax_cross_entropy(scores, labels)
    return F.average(CrossEntropy().apply((scores, labels))[0])


def cross_entropies(scores: Any, labels: Any) -> Any:
    """Those of all samples, (n,), as an array without a graph."""
    if not on_gpu(scores):
        return F.softmax_cross_entropy(scores, labels, reduce="no").array
    return CrossEntropy().apply((scores, labels))[0].array
