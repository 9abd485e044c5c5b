"""The layers on a GPU: cuDNN's and Chainer's, only those that always add in the same order.

Every function takes NumPy's arrays too, with the same meaning. Parameters are float32; they are
used in the precision of ``x``, float16 in mixed runs, and so get float32 gradients.

Which algorithm cuDNN takes is Chainer's configuration, set by trainer.device.
"""

from __future__ import annotations

from typing import Any, Optional

import chainer
import chainer.functions as F
import numpy as np


def on_gpu(x: Any) -> bool:
    """Is ``x``, an array or a variable, CuPy's?"""
    return chainer.backend.get_array_module(x) is not np


def like(parameter: Any, x: Any) -> Any:
    """In the precision of ``x``; None stays None."""
    if parameter is None or parameter.dtype == x.dtype:
        return parameter
    return F.cast(parameter, x.dtype)


def convolution(
    x: Any,
    weights: Any,
    bias: Any = None,
    stride: int = 1,
    pad: int = 0,
    groups: int = 1,
    relu: bool = False,
) -> chainer.Variable:
    y = F.convolution_2d(x, like(weights, x), like(bias, x), stride, pad, groups=groups)
    return F.relu(y) if relu else y


def linear(x: Any, weights: Any, bias: Any) -> chainer.Variable:
    return F.linear(x, like(weights, x), like(bias, x))


def normalized(
    link: Any, x: Any, relu: bool = False, shortcut: Optional[chainer.Variable] = None
) -> chainer.Variable:
    """By a ``chainer.links.BatchNormalization``, plus the shortcut, then ReLU.

    Rows (N, C) are normalised in float32: Chainer has no cuDNN for them in float16.
    """
    if x.ndim == 2 and x.dtype == np.float16:
        y = F.cast(link(F.cast(x, np.float32)), x.dtype)
    else:
        y = link(x)
    if shortcut is not None:
        y = y + shortcut
    return F.relu(y) if relu else y


def max_pooling(x: Any, kernel: int, stride: int, pad: int) -> chainer.Variable:
    """Chainer's own kernels: each element gathers what it needs, nothing is added concurrently.

    cuDNN is not asked: its manual says nothing of windows that hang over the edge, nor which of
    equal values gets the gradient. Here it is the first in row order, as on the CPU.

    By their text they make something else of a NaN than the CPU does: it never is the greatest, so
    beside numbers it is lost, and a window of nothing but NaN gives minus infinity. Infinities
    pass. So an overflow is not always seen in the loss of its step.
    """
    with chainer.using_config("use_cudnn", "never"):
        return F.max_pooling_2d(x, kernel, stride, pad)


def average_pooling(x: Any, kernel: int, stride: int, pad: int) -> chainer.Variable:
    """Windows must fit: none hangs over the edge."""
    return F.average_pooling_2d(x, kernel, stride, pad)


def global_average(x: Any) -> chainer.Variable:
    """(N, C, H, W) -> (N, C); added up in float32."""
    return F.cast(F.average(F.cast(x, np.float32), axis=(2, 3)), x.dtype)
