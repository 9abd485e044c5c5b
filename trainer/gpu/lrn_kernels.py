"""Local response normalisation on a GPU: one kernel forward, one backward, each element by itself.

The text of the kernels is C as well as CUDA, so a test runs it without a GPU. Arrays lie in C order
as (N, channels, area); ``i`` is the element, a ptrdiff_t as CuPy counts them: a batch may have more
than 2**31. Sums are float32 also for float16 elements.
"""

from __future__ import annotations

from functools import cache
from typing import Any

#: From which to which channel the sum goes, counted from that of element i.
NEAR = """
    const int channel = (int)(i / area % channels);
    const int first = channel < reach ? -channel : -reach;
    const int last = channel + reach < channels ? reach : channels - 1 - channel;
"""

FORWARD = f"""{NEAR}
    float sum = 0;
    for (int c = first; c <= last; ++c) {{
        const float near = x[i + c * area];
        sum += near * near;
    }}
    scale = k + alpha * sum;
    const float root = sqrtf(scale);
    const float own = x[i];
    y = own / (root * sqrtf(root));
"""

BACKWARD = f"""{NEAR}
    float sum = 0;
    float passed = 0;
    for (int c = first; c <= last; ++c) {{
        const ptrdiff_t j = i + c * area;
        const float root = sqrtf(scale[j]);
        const float gradient = gy[j];
        const float value = x[j];
        const float through = gradient / (root * sqrtf(root));
        sum += through * value / scale[j];
        if (c == 0) passed = through;
    }}
    const float own = x[i];
    gx = passed - 2 * alpha * beta * own * sum;
"""


@cache
def forward_kernel() -> Any:
    """(x, channels, area, reach, k, alpha, y, scale): fills y and scale; all in C order, x flat."""
    import cupy

    return cupy.ElementwiseKernel(
        "raw T x, int32 channels, int32 area, int32 reach, float32 k, float32 alpha",
        "T y, float32 scale",
        FORWARD,
        "bundle_response",
    )


@cache
def backward_kernel() -> Any:
    """(x, gy, scale, channels, area, reach, alpha, beta, gx): fills gx; the others are flat."""
    import cupy

    return cupy.ElementwiseKernel(
        "raw T x, raw T gy, raw float32 scale, "
        "int32 channels, int32 area, int32 reach, float32 alpha, float32 beta",
        "T gx",
        BACKWARD,
        "bundle_response_gradient",
    )
