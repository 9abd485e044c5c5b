"""Where things lie inside the container, and what the job script tells the trainer there."""

from __future__ import annotations

from pathlib import PurePosixPath

CODE_MOUNT = PurePosixPath("/bundle/code")
RUN_MOUNT = PurePosixPath("/bundle/run")
TRAIN_MOUNT = PurePosixPath("/bundle/data/train")
VAL_MOUNT = PurePosixPath("/bundle/data/val")
TRAIN_PACK_MOUNT = PurePosixPath("/bundle/data/train.pack")
VAL_PACK_MOUNT = PurePosixPath("/bundle/data/val.pack")
#: A rerun with another processor: what emulates it, and what the kernel would say of it.
EMULATOR_MOUNT = PurePosixPath("/bundle/emulator")
CPUINFO_MOUNT = PurePosixPath("/proc/cpuinfo")

#: The job script gives the trainer the second (since 1970) at which the job will be ended.
DEADLINE_VARIABLE = "BUNDLE_DEADLINE"
