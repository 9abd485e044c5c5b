"""How a sample comes from storage into memory, by the name of the key ``loadtype``."""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional, Protocol, Sequence

import numpy as np
import numpy.typing as npt

from trainer.loadtypes.custom import PackedImages
from trainer.loadtypes.original import OriginalImages
from trainer.sampleset import SampleSet


class Samples(Protocol):
    def load(
        self, indices: Sequence[int], epochs: Optional[Sequence[int]], out: npt.NDArray[Any]
    ) -> None:
        """Write each sample as drawn in its epoch (``epochs`` None: validation) into ``out``, of
        the set's ``dtype``, (n, 3, insize, insize), or the first n places of a larger one.

        A pure function of its arguments and the set, sample by sample. Raises TrainerError naming
        the image.
        """


#: What has a byte per sample: not 0 once the sample was found to be what the run's table says.
Checked = npt.NDArray[np.uint8]

LOADTYPES: Dict[str, Callable[[SampleSet, Checked], Samples]] = {
    "original": OriginalImages,
    "custom": PackedImages,
}
