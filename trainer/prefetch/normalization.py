"""Views as loaders cut them -> what the network takes, on the GPU, with the bits of the CPU."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainer.augment import SCALE
from trainer.optimizers.elementwise import OPERATIONS

if TYPE_CHECKING:
    from trainer.gpu.gpu import Gpu

#: What happens to one pixel, in C as well as CUDA. ``row`` counts the rows of a batch, (n, 3,
#: insize, insize), from its first on; ``views`` has top, left and flip of each image. A mirrored
#: pixel takes the mean of the place that it comes from. The difference and its product are each
#: rounded once, as by NumPy: see trainer.optimizers.elementwise.OPERATIONS.
PIXEL = """
__device__ inline float normalized(
    const unsigned char *pixels, const float *mean, const int *views,
    int insize, int side, float scale, long long row, int x
) {
    const int y = (int)(row % insize), channel = (int)(row / insize % 3);
    const int *view = views + 3 * (row / insize / 3);
    const int top = view[0] + y, left = view[1] + (view[2] ? insize - 1 - x : x);
    const float value = (float)pixels[row * insize + x];
    return mul_rn(sub_rn(value, mean[((long long)channel * side + top) * side + left]), scale);
}
"""

#: One block of threads for each row.
KERNEL = """
extern "C" __global__ void bundle_normalize(
    const unsigned char *pixels, const float *mean, const int *views, float *out,
    int insize, int side, float scale
) {
    const long long row = blockIdx.x;
    for (int x = threadIdx.x; x < insize; x += blockDim.x)
        out[row * insize + x] = normalized(pixels, mean, views, insize, side, scale, row, x);
}
"""

THREADS = 256


class Normalization:
    """Holds the mean image of a set on the GPU."""

    def __init__(self, gpu: Gpu, mean: npt.NDArray[np.float32]) -> None:
        """``mean`` is float32 (3, side, side)."""
        self._gpu = gpu
        self._side = np.int32(mean.shape[2])
        self._mean = gpu.cupy.asarray(np.ascontiguousarray(mean))

    @cached_property
    def _kernel(self) -> Any:
        return self._gpu.cupy.RawKernel(OPERATIONS + PIXEL + KERNEL, "bundle_normalize")

    def __call__(self, pixels: Any, views: Any) -> Any:
        """uint8 (n, 3, insize, insize) and int32 (n, 3), both CuPy's -> float32 of the former's
        shape, on the current stream: the bits of trainer.augment.subtract_mean."""
        insize = pixels.shape[3]
        out = self._gpu.cupy.empty(pixels.shape, np.float32)
        rows = len(pixels) * 3 * insize
        arguments = (pixels, self._mean, views, out, np.int32(insize), self._side, SCALE)
        self._kernel((rows,), (THREADS,), arguments)
        return out
