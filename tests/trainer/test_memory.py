"""Freed memory is kept, whatever the size of the arrays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]

SCRIPT = """
import resource
import numpy as np
from trainer.memory import keep_freed_memory
if {kept}:
    keep_freed_memory()
def touch():
    np.ones(50_000_000 // 4, np.float32)
touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(kept: bool) -> int:
    """Pages that the kernel had to give while the same 50 MB were taken five times."""
    script = SCRIPT.format(kept=kept)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT, check=True, capture_output=True, text=True
    )
    return int(done.stdout)


def test_pages_are_given_once() -> None:
    # Large pages hold 2 MB, small ones 4 kB: 25 times 5 of them are needed at least.
    assert faults(kept=True) < 50 < faults(kept=False)
