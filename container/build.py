"""The steps of a build: recipe -> store -> sandbox -> squashfs -> SIF -> cache."""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterator, List, Mapping, Optional

from container.build_folder import build_folder, sole_builder
from container.cache import Cache
from container.check_pins import MISMATCH
from container.fetch import fill_store
from container.image import (
    Image,
    find_image,
    image_digest,
    image_fault,
    published,
    recorded_image,
)
from container.layout import lay_out
from container.lock import Lock
from container.process import CommandFailed
from container.progress import Progress, Silent
from container.recipe import DEFINITION, Recipe
from container.room import little_room
from container.runtime import Runtime
from container.sbom import NAMESPACE, sbom_text
from container.sif import (
    CYCLONEDX_JSON,
    GENERIC_JSON,
    LABELS,
    PARTITION,
    SBOM,
    SQUASHFS_SYSTEM,
    SifInput,
    write_sif,
)
from container.sif import DEFINITION as DEFINITION_OBJECT
from container.sources import Source
from container.squashfs import pack, unpack_tools
from container.store import Store
from container.tree import finish_tree, labels_of, labels_text
from container.trouble import Trouble

__all__ = ["Image", "build_image", "find_image", "image_digest", "image_labels"]

WAITING = "waiting for another build of this image"
TOO_LARGE = "allow larger files (`ulimit -f unlimited`), then build again"
NO_SPACE = "free some space there, or name another folder with BUNDLE_CACHE; then build again"


def build_image(
    recipe: Recipe,
    cache: Cache,
    *,
    runtime: Runtime,
    deb_source: Source,
    wheel_source: Source,
    progress: Optional[Progress] = None,
) -> Image:
    """The recipe's image from the cache, or built now; the network is used to fill the store only.

    Raises Trouble: an input that cannot be had or is not the locked one, a library that loads in
    another version than pinned, a full disk, a build that fails. Nothing is left under the final
    name then.
    """
    progress = progress or Silent()
    with _trouble_with_disk(cache):
        known = find_image(recipe, cache)
        if known is not None:
            return known
        lock = recipe.lock
        with sole_builder(cache, recipe, lambda: progress.stage(WAITING)):
            known = find_image(recipe, cache)
            if known is not None:
                return known
            old = recorded_image(recipe, cache)
            fault = image_fault(old) if old else None
            if fault is not None:
                progress.stage(f"{fault}; building it again")
            with build_folder(cache, recipe) as folder:
                room = little_room(lock, cache)
                if room is not None:
                    progress.stage(room)
                store = Store(cache.store, cache.shared_store)
                fill_store(
                    store,
                    [
                        ("Debian packages", lock.debian.files, deb_source),
                        ("Python packages", lock.python.files, wheel_source),
                    ],
                    folder / "arrivals",
                    progress,
                )
                progress.stage("laying out the verified inputs")
                lay_out(recipe, store, folder)
                progress.stage("building the root file system (network off)")
                tree = _make_tree(recipe, runtime, folder)
                progress.stage("packing it as squashfs")
                squashfs = _pack(lock, tree, store, folder)
                progress.stage("writing the SIF file")
                return published(recipe, cache, _write_sif(recipe, squashfs, folder))


def _make_tree(recipe: Recipe, runtime: Runtime, folder: Path) -> Path:
    sandbox = folder / "tree"
    environ = build_environment(folder, os.environ.get("PATH", os.defpath))
    try:
        runtime.build(folder / DEFINITION, sandbox, folder=folder, environ=environ)
    except CommandFailed as error:
        raise _build_trouble(error, recipe.lock, file_limit()) from error
    finish_tree(sandbox, recipe.definition, image_labels(recipe))
    return sandbox


def image_labels(recipe: Recipe) -> Dict[str, str]:
    """The definition's own labels, and which recipe made the image."""
    return {
        **labels_of(recipe.definition),
        "bundle.stack": recipe.stack,
        "bundle.lock.sha256": recipe.lock_sha256,
        "bundle.recipe.sha256": recipe.sha256,
    }


def build_environment(folder: Path, path: str) -> Mapping[str, str]:
    """All that a build sees of the caller's environment: where programs are.

    Everything that Singularity writes on its way stays in ``folder``.
    """
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    places = {"TMPDIR": scratch, "CACHEDIR": folder / "cache", "CONFIGDIR": folder / "config"}
    return {
        "PATH": f"{path}:/usr/sbin:/sbin",
        "HOME": str(folder),
        "TMPDIR": str(scratch),
        "PYTHON": sys.executable,
        "LC_ALL": "C",
        "TZ": "UTC",
        **{f"APPTAINER_{key}": str(place) for key, place in places.items()},
        **{f"SINGULARITY_{key}": str(place) for key, place in places.items()},
    }


def file_limit() -> Optional[int]:
    """Bytes that a file of this process may have (`ulimit -f`), None without a limit."""
    soft = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def _build_trouble(error: CommandFailed, lock: Lock, limit: Optional[int]) -> Trouble:
    lines = error.stderr_tail.splitlines()
    wrong = [line.split(MISMATCH, 1)[1] for line in lines if MISMATCH in line]
    if wrong:
        return Trouble(
            [f"the image has another version than pinned: {line}" for line in wrong],
            "correct the probe or the pin in the stack file and write the lock anew",
        )
    if "No space left on device" in error.stderr_tail:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
    # Singularity's own copy of a package ends at the limit without a word of why.
    copied = "unable to copy files" in error.stderr_tail
    largest = max((file.size for file in lock.all_files), default=0)
    if os.strerror(errno.EFBIG) in error.stderr_tail or (
        copied and limit is not None and limit < largest
    ):
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG)) from error
    return Trouble(f"the build of the root file system failed: {error}", "see the lines above")


def _pack(lock: Lock, tree: Path, store: Store, folder: Path) -> Path:
    tools = folder / "tools"
    unpack_tools([store.path(file.sha256) for file in lock.files_for("tools")], tools)
    target = folder / "root.squashfs"
    try:
        pack(tree, target, tools=tools, compression=lock.compression, timestamp=lock.timestamp)
    except CommandFailed as error:
        if "No space left on device" in error.stderr_tail:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        if error.returncode == -signal.SIGXFSZ:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG)) from error  # `ulimit -f`
        raise Trouble(f"packing the root file system failed: {error}", "see above") from error
    return target


def _write_sif(recipe: Recipe, squashfs: Path, folder: Path) -> Path:
    target = folder / "image.sif"
    with target.open("wb") as stream:
        write_sif(
            stream,
            _sif_objects(recipe, squashfs),
            identity=uuid.uuid5(NAMESPACE, recipe.sha256),
            timestamp=recipe.lock.timestamp,
        )
        stream.flush()
        os.fsync(stream.fileno())
    target.chmod(0o755)  # a SIF file can be started like a program
    return target


def _sif_objects(recipe: Recipe, squashfs: Path) -> List[SifInput]:
    labels = labels_text(image_labels(recipe)).encode("utf-8")
    sbom = sbom_text(recipe.lock, recipe.sha256).encode("utf-8")
    return [
        SifInput(DEFINITION_OBJECT, DEFINITION, recipe.definition.encode("utf-8")),
        SifInput(LABELS, "labels.json", labels),
        SifInput(GENERIC_JSON, "lock.json", recipe.lock_text.encode("utf-8")),
        SifInput(SBOM, "sbom.cdx.json", sbom, CYCLONEDX_JSON),
        SifInput(PARTITION, "root.squashfs", squashfs, SQUASHFS_SYSTEM),
    ]


@contextmanager
def _trouble_with_disk(cache: Cache) -> Iterator[None]:
    """Errors of the cache's file system in words that say which folder it is."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            problem = f"{cache.root}: there is no space left for the image ({error.strerror})"
            too_large = error.errno == errno.EFBIG
            raise Trouble(problem, TOO_LARGE if too_large else NO_SPACE) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR):
            problem = f"{error.filename or cache.root}: cannot be written: {error.strerror}"
            raise Trouble(problem, "name a folder of yours with BUNDLE_CACHE") from error
        raise
