"""How a sample comes from storage into memory, by the name of the key ``loadtype``."""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional, Protocol

import numpy as np
import numpy.typing as npt

from trainer.loadtypes.custom import PackedImages
from trainer.loadtypes.original import OriginalImages
from trainer.sampleset import SampleSet


class Samples(Protocol):
    def load(self, index: int, epoch: Optional[int], out: npt.NDArray[Any]) -> None:
        """Write sample ``index`` as drawn in ``epoch`` (None: validation) into ``out``, of the
        set's ``dtype``, (3, insize, insize).

        A pure function of its arguments and the set. Raises TrainerError naming the image.
        """


#: What has a byte per sample: not 0 once the sample was found to be what the run's table says.
Checked = npt.NDArray[np.uint8]

LOADTYPES: Dict[str, Callable[[SampleSet, Checked], Samples]] = {
    "original": OriginalImages,
    "custom": PackedImages,
}
