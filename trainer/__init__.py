"""The trainer: image code. It reads a run directory, trains under MPI, writes what came out.

It shares with the host the module ``manifests.record.schema`` only.
"""

from __future__ import annotations

import warnings

# NumPy warns when it is told to leave out instructions that the CPU lacks anyway. The knob is
# checked by its effect (trainer.contract), so the warning says nothing that is not known.
warnings.filterwarnings(
    "ignore",
    message="During parsing environment variable 'NPY_DISABLE_CPU_FEATURES'",
    category=RuntimeWarning,
)
