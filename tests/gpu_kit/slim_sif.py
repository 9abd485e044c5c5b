"""A SIF file of the slimmed tree, by the project's own functions: all else in it is the image's.

python -m tests.gpu_kit.slim_sif TREE TOOLS OBJECTS IMAGES [STACK]

TOOLS is a root with the mksquashfs that the lock pins. OBJECTS keeps the other objects of the SIF
file; it is written where it is not there, which takes a package that does not travel. What the kit
has added to TREE (mpirun) stays out. The file is recorded in IMAGES as a build would record it, and
under STACK's name too, if one is given (for a rehearsal: the image has what stack cpu has). Prints
the sha256.
"""

from __future__ import annotations

import base64
import json
import sys
import uuid
from pathlib import Path
from typing import Any, List, Optional

from container import squashfs
from container.build import _sif_objects
from container.build_folder import name_of
from container.digest import sha256_of_file
from container.image import record_image
from container.process import run
from container.recipe import Recipe, load_recipe
from container.sbom import NAMESPACE
from container.sif import SifInput, write_sif

PROJECT = Path(__file__).resolve().parents[2]
ADDED = ("usr/bin/mpirun", "usr/bin/orted", "usr/bin/orterun")


def without_what_was_added(argv: List[str], **named: Any) -> Any:
    """mksquashfs, with the files left out that the image has not."""
    return run([*argv, "-e", *ADDED], **named)


def encoded(part: Any) -> Optional[str]:
    return base64.b64encode(part).decode() if isinstance(part, bytes) else None


def objects(recipe: Recipe, partition: Path, kept: Path) -> List[SifInput]:
    if not kept.exists():
        made = _sif_objects(recipe, partition)
        rows = [[one.kind, one.name, encoded(one.content), encoded(one.extra)] for one in made]
        kept.write_text(json.dumps(rows))
    found = []
    for kind, name, content, extra in json.loads(kept.read_text()):
        body = partition if content is None else base64.b64decode(content)
        found.append(SifInput(kind, name, body, base64.b64decode(extra)))
    return found


def main(tree: Path, tools: Path, kept: Path, images: Path, stacks: List[str]) -> str:
    vars(squashfs)["run"] = without_what_was_added
    recipe = load_recipe(PROJECT, "cuda12")
    timestamp = recipe.lock.timestamp
    images.mkdir(parents=True, exist_ok=True)
    image = images / f"{name_of(recipe)}.sif"
    part = images / "part.squashfs"
    part.unlink(missing_ok=True)
    squashfs.pack(tree, part, tools=tools, compression="none", timestamp=timestamp)
    with image.open("wb") as stream:
        identity = uuid.uuid5(NAMESPACE, recipe.sha256)
        write_sif(stream, objects(recipe, part, kept), identity=identity, timestamp=timestamp)
    image.chmod(0o755)
    part.unlink()
    sha256 = sha256_of_file(image)
    for stack in stacks:
        other = images / f"{name_of(load_recipe(PROJECT, stack))}.sif"
        other.unlink(missing_ok=True)
        other.hardlink_to(image)
        record_image(other, sha256)
    # The last thing: a new link changes a time that the record holds.
    record_image(image, sha256)
    return sha256


if __name__ == "__main__":
    paths = [Path(word).resolve() for word in sys.argv[1:5]]
    print(main(paths[0], paths[1], paths[2], paths[3], sys.argv[5:]))
