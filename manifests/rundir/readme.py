"""``README.md`` of a run directory: what the folder is, and the two commands that run it again"""

from __future__ import annotations

from manifests.record.communicators import counted
from manifests.record.schema import Manifest
from manifests.rundir.snapshot import recorded_files

#: The program itself is part of the snapshot unless ``.bundleignore`` leaves it out.
PROGRAM = "bundle.py"

TEXT = """\
# {name}

The directory of a training run: {training}.
The run can be repeated with the same bits, on this machine or on another one. In this folder:

{commands}

{first}
The second one verifies this folder, runs the training again in a new folder beside it, and
prints the verdict. Give it `--data OLD=NEW` for images that moved, and `--site local` for a
machine without the scheduler of this run. The container image is found by its sha256, wherever
it lies. If it is gone, it is built again from the recipe in `manifest.json`.

Nothing in `code/` may be changed, and nothing may be installed there: it is what ran.

| | |
| --- | --- |
| identity | `{identity}` |
| image | stack {stack}, sha256 `{image}` |
| data | {train} training and {val} validation images; their digests are in `inputs/` |

`manifest.json` has all settings and digests. `result.json` has the results, `results/` the log,
the digests of every step, and the trained network. This file is not part of what is verified.
"""

COPY = """\
    cp -r code ~/bundle && make -C ~/bundle setup
    python3 ~/bundle/bundle.py rerun ."""

CHECKOUT = """\
    make -C BUNDLE setup
    python3 BUNDLE/bundle.py rerun ."""

FROM_SNAPSHOT = """\
The first command copies the program from the run's snapshot and installs what it needs. It uses
the network. With a bundle that is set up already, only the second one is needed."""

FROM_CHECKOUT = """\
BUNDLE is a checkout of the program; the snapshot of this run does not have it."""


def readme_text(manifest: Manifest, name: str) -> str:
    """The text for the run directory ``name``; it depends on these two alone."""
    identity = manifest.identity
    training = identity.training
    whole = PROGRAM in recorded_files(manifest)
    return TEXT.format(
        name=name,
        training=(
            f"{training.arch}, {counted(training.nclasses, 'class')}, "
            f"{counted(training.epochs, 'epoch')}, {counted(identity.world.ranks, 'rank')}, "
            f"seed {training.seed}"
        ),
        commands=COPY if whole else CHECKOUT,
        first=FROM_SNAPSHOT if whole else FROM_CHECKOUT,
        identity=manifest.identity_digest,
        stack=identity.image.stack,
        image=identity.image.sha256,
        train=identity.data.train.samples,
        val=identity.data.val.samples,
    )
