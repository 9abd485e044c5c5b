"""Images for the flows: built from the project's lock, or found again for an old manifest."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

from container import atomic
from container.build import build_image
from container.cache import Cache
from container.image import (
    Image,
    altered,
    altered_trouble,
    find_image,
    holds_image,
    image_digest,
    image_fault,
    recorded_image,
)
from container.lock import lock_text, parse_lock
from container.reachable import file_here
from container.recipe import (
    FORMAT_ENTRY,
    RECIPE_FORMAT,
    Recipe,
    load_recipe,
    lock_path,
    needed_files,
)
from container.resolve import resolve
from container.runtime import find_runtime
from container.sources import configured_index, deb_source, folder_first, wheel_source
from container.stack import find_stack
from container.stack_names import check_stack_name
from container.trouble import Trouble
from manifests.host.context import HostContext
from manifests.record.alteration import was_altered
from manifests.record.run_files import RunFiles
from manifests.record.schema import Manifest


def build_recipe(
    recipe: Recipe, host: HostContext, mirror: Optional[str], packages: Optional[Path] = None
) -> Image:
    """The recipe's image, built now if the cache does not have it. Raises Trouble.

    What the folder ``packages`` has of the lock's files is not fetched.
    """
    known = find_image(recipe, host.cache, warn=host.progress.stage)
    if known is not None:
        return known
    return build_image(
        recipe,
        host.cache,
        runtime=find_runtime(host.project, host.environ),
        deb_source=folder_first(packages, deb_source(mirror)),
        wheel_source=folder_first(packages, wheel_source()),
        progress=host.progress,
    )


def build_stack(
    stack: str, host: HostContext, *, mirror: Optional[str], output: Optional[Path]
) -> Image:
    """Build the image of a stack of the working tree, and copy it to ``output`` where given."""
    with atomic.prepared(*([] if output is None else [output])):
        image = build_recipe(load_recipe(host.project, stack), host, mirror)
        if output is not None:
            copy_image(image, output)
    notice = others_notice(image) if image.fresh else None
    if notice is not None:
        host.progress.stage(notice)
    return image


def built_words(host: HostContext, stack: str = "cpu") -> str:
    """ ", which is built" where the image of a stack is there for the working tree's recipe."""
    try:
        built = recorded_image(load_recipe(host.project, stack), host.cache) is not None
    except Trouble:
        built = False
    return ", which is built" if built else ""


def others_notice(image: Image) -> Optional[str]:
    """A sentence on the other images of the stack beside this one; None when it is alone."""
    others = [path for path in image.path.parent.glob(f"{image.stack}-*.sif") if path != image.path]
    if not others:
        return None
    total = sum(path.stat().st_size for path in others) / 1e6
    return (
        f"images of stack {image.stack} of other recipes in {image.path.parent}: {len(others)}, "
        f"{total:.0f} MB; `clean --images` removes those that no run needs"
    )


def copy_image(image: Image, output: Path) -> None:
    """Copy an image, hashing what is copied. Raises Trouble when that is not the image's sha256."""
    sha256 = hashlib.sha256()
    with atomic.replacing_unnamed(output) as target, image.path.open("rb") as source:
        while block := source.read(1 << 20):
            sha256.update(block)
            target.write(block)
        fault = altered(image, sha256.hexdigest())
        if fault is not None:
            raise altered_trouble(image, fault)
    output.chmod(0o755)


@dataclass(frozen=True)
class BuildOutlook:
    """What ``build`` would find: the counts and the ``bytes`` of the lock's packages, and the
    finished image, None when there is none or it was altered (then ``fault`` says so)."""

    stack: str
    lock_sha256: str
    debian_packages: int
    python_packages: int
    bytes: int
    image: Optional[Path]
    fault: Optional[str]

    def lines(self) -> List[str]:
        state = f"up to date: {self.image}" if self.image else "the image is not built yet"
        return [
            f"stack {self.stack}: lock sha256 {self.lock_sha256}",
            f"{self.debian_packages} Debian and {self.python_packages} Python packages, "
            f"{self.bytes / 1e6:.0f} MB",
            f"{self.fault}; it would be built again" if self.fault else state,
        ]

    def values(self) -> Dict[str, Any]:
        """As plain values for JSON, by the names of the fields."""
        return {**asdict(self), "image": str(self.image) if self.image else None}


def describe_build(stack: str, host: HostContext) -> BuildOutlook:
    """What ``build`` would do, without doing it; nothing is written."""
    recipe = load_recipe(host.project, stack)
    lock = recipe.lock
    known = find_image(recipe, host.cache, remember=False)
    recorded = recorded_image(recipe, host.cache)
    return BuildOutlook(
        stack=stack,
        lock_sha256=recipe.lock_sha256,
        debian_packages=len(lock.debian.files),
        python_packages=len(lock.python.files),
        bytes=sum(file.size for file in lock.all_files),
        image=known.path if known else None,
        fault=image_fault(recorded) if recorded and not known else None,
    )


def write_lock(stack: str, host: HostContext, *, mirror: Optional[str], dry_run: bool) -> List[str]:
    """Resolve a stack anew and write its lock; returns what changed, a line each."""
    choice = find_stack(host.project, stack)
    text = lock_text(
        resolve(choice, mirror=mirror, index=configured_index(), progress=host.progress)
    )
    target = host.project / lock_path(stack)
    before = target.read_text(encoding="utf-8") if target.exists() else ""
    if text == before:
        return [f"{target}: nothing changed"]
    old, new = set(before.splitlines()), set(text.splitlines())
    changes = len(new - old)
    if dry_run:
        return [f"{target}: would change in {changes} lines"]
    atomic.write_bytes(target, text.encode("utf-8"))
    return [f"{target}: written, {changes} lines are new"]


def intact_image_of_run(
    manifest: Manifest,
    host: HostContext,
    own: Optional[RunFiles] = None,
    digest: Callable[[Path], str] = image_digest,
) -> Optional[Path]:
    """The image file of an old run by its sha256: in its directory ``own``, where it was, in the
    cache, else None; ``digest`` looks at it."""
    image = manifest.identity.image
    recorded = Path(manifest.circumstance.paths.image)
    beside = [] if own is None else [own.image]
    for path in [*beside, recorded, *_images_of(host.cache)]:
        if holds_image(path, image.size, image.sha256, digest):
            return path
    return None


def _images_of(cache: Cache) -> List[Path]:
    return [path for folder in cache.image_folders for path in sorted(folder.glob("*.sif"))]


def find_image_of_run(
    manifest: Manifest, host: HostContext, own: Optional[RunFiles] = None
) -> Optional[Path]:
    """As :func:`intact_image_of_run`, but an altered file at the recorded place is better than
    none: a caller who hashes it can say what was found."""
    recorded = Path(manifest.circumstance.paths.image)
    found = intact_image_of_run(manifest, host, own)
    return found or (recorded if file_here(recorded) else None)


def recipe_of_run(manifest: Manifest, where: str) -> Recipe:
    """The recipe that a manifest carries; ``where`` names the manifest in messages.

    Raises Trouble when texts are missing or are not those that the identity names.
    """
    kept, image = manifest.recipe, manifest.identity.image
    named = f"the recipe in {where}"
    restore = "restore the manifest from a copy of the run: it must be as bundle wrote it"
    check_stack_of_run(kept.stack, named, restore)
    lacking = [name for name in needed_files(kept.stack) if name not in kept.files]
    if lacking:
        raise Trouble([f"{named} lacks {name}" for name in lacking], restore)
    recipe = Recipe(kept.stack, dict(kept.files))
    if recipe.sha256 != image.recipe_sha256:
        raise Trouble(f"{named} {was_altered(recipe.sha256, image.recipe_sha256)}", restore)
    try:
        parse_lock(recipe.lock_text, f"{named}: lock")
    except Trouble as error:
        # The lock's own next steps are for the project's file.
        raise Trouble(error.problems, restore) from error
    return recipe


def check_stack_of_run(stack: str, named: str, restore: str) -> None:
    """A stack's name becomes part of file names; a manifest may come from anywhere."""
    try:
        check_stack_name(stack, [])
    except Trouble as error:
        raise Trouble(f"{named}: {stack!r} is not a name of a stack", restore) from error


def image_of_run(
    manifest: Manifest,
    host: HostContext,
    *,
    mirror: Optional[str],
    may_build: bool,
    where: str = "manifest.json",
    own: Optional[RunFiles] = None,
) -> Path:
    """The image file of an old run: found, or built again from the manifest's own recipe.

    ``where`` names the manifest in messages, ``own`` is the run directory, which may hold the image
    or its packages. Raises Trouble when the recipe was altered or is
    another bundle's, when the rebuilt image has other bytes, or when it would have to be built
    and ``may_build`` is False.
    """
    expected = manifest.identity.image.sha256
    found = intact_image_of_run(manifest, host, own)
    if found is not None:
        return found
    recorded = Path(manifest.circumstance.paths.image)
    lost = f"the image with sha256 {expected} is gone"
    if file_here(recorded):
        lost = f"the image {recorded} was altered"
    back = f"give the original image file back as {manifest.circumstance.paths.image}"
    recipe = recipe_of_run(manifest, where)
    packing = recipe.files.get(FORMAT_ENTRY)
    if packing != RECIPE_FORMAT:
        raise Trouble(
            f"{lost}, and the recipe in {where} is of format {packing}: "
            f"this bundle builds format {RECIPE_FORMAT}",
            f"use the version of bundle that wrote it, or {back}",
        )
    if not may_build:
        raise Trouble(
            f"{lost}; a real rerun would build it again",
            "leave --dry-run out",
        )
    host.progress.stage(f"{lost}: building it again from the manifest's recipe")
    stale = find_image(recipe, host.cache, warn=host.progress.stage)
    fault = image_fault(stale) if stale else None
    if stale is not None and fault is not None:
        # Altered behind the back of its time stamps: the build would take it for up to date.
        host.progress.stage(f"{fault}; building it again")
        stale.path.unlink()
    image = build_recipe(recipe, host, mirror, own.packages if own else None)
    if image.sha256 != expected:
        raise Trouble(
            f"the image built again from the recipe in {where} has sha256 {image.sha256}, "
            f"expected {expected}",
            back,
        )
    return image.path
