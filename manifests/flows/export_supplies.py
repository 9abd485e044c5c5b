"""What an export may hold beside the run: its image, the packages of the image, its data"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import AbstractSet, Dict, Iterator, List, Optional, Tuple

from container.fetch import Share, fill_store
from container.lock import LockedFile
from container.reachable import folder_here, folder_problem
from container.sources import deb_source, folder_first, wheel_source
from container.store import Store
from container.trouble import Trouble, first_of
from manifests.datasets.image_folder import ImageFolder
from manifests.datasets.table import parse_table
from manifests.host.context import HostContext
from manifests.host.image_memory import ImageMemory
from manifests.host.image_source import intact_image_of_run, recipe_of_run
from manifests.record.run_files import RunFiles
from manifests.record.schema import Circumstance, Manifest
from manifests.rundir.export_file import Member
from manifests.rundir.tar_members import name_problem
from manifests.rundir.verify import ALL, Needed, data_problems


def image_members(files: RunFiles, manifest: Manifest, host: HostContext) -> Iterator[Member]:
    """Raises Trouble where this machine does not have the image."""
    image = manifest.identity.image
    memory = ImageMemory(host.cache.root)
    path = intact_image_of_run(manifest, host, files, memory.digest)
    if path is None:
        raise Trouble(
            f"--with image: no file with sha256 {image.sha256} (stack {image.stack}) is here",
            "a rerun builds it again; or leave --with image out",
        )
    yield Member(files.image.name, str(path), image.size, mode=0o755, expected=image.sha256)


def package_members(
    files: RunFiles, manifest: Manifest, host: HostContext, mirror: Optional[str]
) -> Iterator[Member]:
    """What the lock names; what the cache lacks is fetched. Raises Trouble as a build does."""
    lock = recipe_of_run(manifest, str(files.manifest)).lock
    store = Store(host.cache.store, host.cache.shared_store)
    host.cache.builds.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="packages-", dir=host.cache.builds) as arrivals:
        debian = folder_first(files.packages, deb_source(mirror))
        python = folder_first(files.packages, wheel_source())
        shares: List[Share] = [
            ("Debian packages", lock.debian.files, debian),
            ("Python packages", lock.python.files, python),
        ]
        fill_store(store, shares, Path(arrivals) / "arrivals", host.progress)
    seen: Dict[str, LockedFile] = {}
    for file in lock.all_files:
        if seen.setdefault(file.basename, file).sha256 != file.sha256:
            raise Trouble(f"--with packages: two packages are called {file.basename}", "")
    for file in seen.values():
        yield Member(
            f"{files.packages.name}/{file.basename}", str(store.path(file.sha256)), file.size,
            expected=file.sha256,
        )  # fmt: skip


def data_members(
    files: RunFiles,
    manifest: Manifest,
    host: HostContext,
    moved: Dict[str, str],
    needed: Needed = ALL,
) -> List[Member]:
    """The images of both sets that are ``needed``, or their packed files where the run reads these.
    Of a packed file everything is needed, so images go first where only some are.

    Raises Trouble with every image that is missing, or is not what a packed file is to hold.
    """
    from manifests.flows.recorded_data import data_here, data_there

    circumstance, _ = data_there(data_here(files, manifest.circumstance, moved))
    roots = (circumstance.paths.train_root, circumstance.paths.val_root)
    images = needed != ALL and all(map(folder_here, roots))
    if circumstance.loading.loadtype == "custom" and not images:
        return pack_members(files, manifest, circumstance, host)
    paths = circumstance.paths
    members: List[Member] = []
    problems: List[str] = []
    for table, root, target, wanted in (
        (files.train_table, paths.train_root, files.train_images, needed.train),
        (files.val_table, paths.val_root, files.val_images, needed.val),
    ):
        rows, faults = rows_of(table, wanted)
        unusable = folder_problem(root) if rows else ""
        if unusable:
            problems.append(f"inputs/{table.name}: its root folder {root} {unusable}")
            continue
        folder = ImageFolder.of(Path(root))
        prefix = target.relative_to(files.root).as_posix()
        for number, (name, sha256) in rows.items():
            stamp = name_problem(name) or folder.stamp(name)
            if isinstance(stamp, str):
                faults.append(f"inputs/{table.name}, line {number}: {folder.show(name)} {stamp}")
            else:
                members.append(
                    Member(f"{prefix}/{name}", folder.path(name), stamp[0], expected=sha256)
                )
        problems += first_of(faults)
    if problems:
        raise Trouble(problems, "restore what was altered; for data that moved: --data OLD=NEW")
    return members


def rows_of(
    table: Path, wanted: Optional[AbstractSet[int]] = None
) -> Tuple[Dict[int, Tuple[str, str]], List[str]]:
    """Line -> (path, sha256) of each image once, and what is wrong with the table; of the samples
    ``wanted``, which are counted from 0."""
    digests, names, faults = parse_table(table.read_bytes(), f"inputs/{table.name}")
    seen: Dict[str, int] = {}
    for number, name in enumerate(names, start=1):
        if wanted is None or number - 1 in wanted:
            seen.setdefault(name, number)
    return {number: (name, digests[number - 1]) for name, number in seen.items()}, faults


def pack_members(
    files: RunFiles, manifest: Manifest, circumstance: Circumstance, host: HostContext
) -> List[Member]:
    problems = data_problems(
        files, manifest, circumstance=circumstance, cache_folder=host.fingerprints(),
        progress=host.progress,
    )  # fmt: skip
    if problems:
        raise Trouble(problems, "pack the images again, or name the packed files: --data OLD=NEW")
    paths = circumstance.paths
    return [
        Member(target.relative_to(files.root).as_posix(), pack, Path(pack).stat().st_size)
        for pack, target in (
            (paths.train_pack, files.train_pack),
            (paths.val_pack, files.val_pack),
        )
        if pack is not None
    ]
