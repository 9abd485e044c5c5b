"""What of the cache and of finished runs can go: its size, why the rest stays, and removing it"""

from __future__ import annotations

import os
import re
import sqlite3
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Callable, Dict, FrozenSet, List, Mapping, Sequence, Tuple

from container.build_folder import build_under_way, builds_left_behind, name_of, remove_dead_build
from container.cache import Cache
from container.recipe import load_recipe, lock_path
from container.stack_names import locked_stacks
from container.trouble import Trouble
from container.unpacked import dead_folders, remove_left_behind, size_of
from manifests.datasets.digest_cache import CURRENT, forget, sizes_by_root
from manifests.datasets.known_set import known_sets
from manifests.flows.needs import Need, Needs
from manifests.host.context import HostContext
from manifests.record.checkpoint_names import checkpoints_in, step_of
from manifests.record.run_files import RunFiles

_SHA256 = re.compile(r"[0-9a-f]{64}")

#: Names that bundle gives: of an image, and of the digest cache in some version. A file of another
#: name in the cache is somebody's, and none of the pieces.
_IMAGE = re.compile(r".+-[0-9a-f]{16}")
_DIGEST_CACHE = re.compile(r"images-[0-9]+\.sqlite3(-journal|-wal|-shm)?")


@dataclass(frozen=True)
class Piece:
    """``why_kept`` is "" for what can go. ``remove`` raises OSError or sqlite3.Error."""

    path: Path
    size: int  # bytes
    remove: Callable[[], object]
    why_kept: str = ""
    note: str = ""


@dataclass(frozen=True)
class Part:
    """``loss`` says what it costs that the pieces of this kind are gone."""

    name: str
    what: str
    loss: str
    pieces: List[Piece] = field(default_factory=list)

    @property
    def size(self) -> int:
        return sum(piece.size for piece in self.pieces)

    @property
    def removable(self) -> List[Piece]:
        return [piece for piece in self.pieces if not piece.why_kept]

    @property
    def removable_size(self) -> int:
        return sum(piece.size for piece in self.removable)


def parts_of(host: HostContext, needs: Needs, runs: Sequence[RunFiles] = ()) -> List[Part]:
    """Everything that `clean` knows; checkpoints only of ``runs`` where some are given."""
    return [
        Part("images", "images of recipes other than this project's",
             "a rerun of a run that used one builds it again", images(host, needs)),
        Part("store", "inputs of images that neither this project nor a listed run names",
             "a build that needs one fetches it again", store(host, needs)),
        Part("fingerprints", "digests of images of data sets that no listed run uses",
             "the next submit with such a data set reads its images again",
             fingerprints(host.cache, needs)),
        Part("builds", "folders of builds and containers that were killed",
             "nothing: nobody uses them", builds(host)),
        Part("checkpoints", "checkpoints of runs that are done",
             "no `resume:` from them, no rerun of some steps or by slices",
             checkpoints(needs, runs)),
    ]  # fmt: skip


# --- images ---------------------------------------------------------------------------------


def images(host: HostContext, needs: Needs) -> List[Piece]:
    own = own_recipes(host)
    files = [path for path in _files(host.cache.images) if path.suffix in (".sif", ".json")]
    names = {path.stem for path in files if _IMAGE.fullmatch(path.stem)}
    return [_image(host.cache.images / f"{name}.sif", own, needs) for name in sorted(names)]


def own_recipes(host: HostContext) -> Dict[str, str]:
    """Name of an image in the cache -> stack, for each that this project builds."""
    stacks = locked_stacks(host.project)
    return {name_of(load_recipe(host.project, stack)): stack for stack in stacks}


def _image(path: Path, own: Mapping[str, str], needs: Needs) -> Piece:
    record = path.with_suffix(".json")
    users = [need for need in needs.runs if _uses(need, path)]

    def remove() -> None:
        record.unlink(missing_ok=True)  # first: an image without it counts as none
        path.unlink(missing_ok=True)

    return Piece(
        path,
        _size(path) + _size(record),
        remove,
        _why_image_stays(path, own, users, needs),
        f"used by {_runs(users)}" if users else "",
    )


def _uses(need: Need, image: Path) -> bool:
    return need.image_name == image.stem or Path(need.image_path) == image


def _why_image_stays(
    path: Path, own: Mapping[str, str], users: Sequence[Need], needs: Needs
) -> str:
    if path.stem in own:
        return f"this project's image of stack {own[path.stem]}"
    for need in users:
        if not need.ended:
            return f"{need.files.root} needs it: it is {need.state}"
    for need in users:
        if not need.rebuildable:
            return f"{need.files.root} needs it: this bundle cannot build it again"
    if needs.unknown:
        return f"{needs.unknown[0]} may need it: it cannot be read"
    return ""


def _runs(users: Sequence[Need]) -> str:
    more = len(users) - 1
    others = f" and {more} other{'s' * (more != 1)}" if more else ""
    return f"{users[-1].files.root}{others}: a rerun builds it again"


# --- stored inputs --------------------------------------------------------------------------


def store(host: HostContext, needs: Needs) -> List[Piece]:
    wanted = _own_inputs(host).union(*(need.inputs for need in needs.runs))
    why = "a build is under way" if build_under_way(host.cache) else ""
    if needs.unknown:
        why = why or f"{needs.unknown[0]} may need it: it cannot be read"
    return [
        Piece(
            path,
            _size(path),
            path.unlink,
            "an input of a listed run's image, or of this project's"
            if path.name in wanted
            else why,
        )
        for folder in _folders(host.cache.store)
        for path in _files(folder)
        if _SHA256.fullmatch(path.name)
    ]


def _own_inputs(host: HostContext) -> FrozenSet[str]:
    texts = [
        (host.project / lock_path(stack)).read_text("utf-8")
        for stack in locked_stacks(host.project)
    ]
    return frozenset(_SHA256.findall("".join(texts)))


# --- fingerprints ---------------------------------------------------------------------------


def fingerprints(cache: Cache, needs: Needs) -> List[Piece]:
    """Files of earlier versions, and of the current one the entries below other folders than those
    of the listed runs' data."""
    folder = cache.root / "fingerprints"
    pieces = [
        Piece(path, _size(path), path.unlink, note="of an earlier version")
        for path in _files(folder)
        if _DIGEST_CACHE.fullmatch(path.name) and not path.name.startswith(CURRENT)
    ]
    pieces += [
        Piece(path, _size(path), path.unlink, note="a whole data set; it is only for speed")
        for path in known_sets(folder)
    ]
    roots = sorted({os.path.abspath(root) for need in needs.runs for root in need.roots})  # noqa: PTH100
    current = folder / CURRENT
    kept, other = sizes_by_root(current, roots)
    why = ""
    if needs.unknown:
        why = f"{needs.unknown[0]} may use them: it cannot be read"
    if other:
        entries = Piece(
            current, other, lambda: forget(current, roots), why, "entries of other data"
        )
        pieces.append(entries)
    if kept:
        pieces.append(Piece(current, kept, lambda: None, "entries of listed runs' data"))
    return pieces


# --- builds, checkpoints --------------------------------------------------------------------


def builds(host: HostContext) -> List[Piece]:
    folders = [
        Piece(
            folder,
            size_of(folder),
            partial(remove_dead_build, folder),
            "" if dead else "a build is under way",
        )
        for folder, dead in builds_left_behind(host.cache)
    ]
    unpacked = [
        Piece(
            folder, size_of(folder), lambda: remove_left_behind(host.environ), "", "unpacked image"
        )
        for folder in dead_folders(host.environ)
    ]
    return folders + unpacked


def checkpoints(needs: Needs, runs: Sequence[RunFiles] = ()) -> List[Piece]:
    """Those that a config keeps for good go only where their run was named."""
    named = {files.root.resolve() for files in runs}
    compared = {str(need.of): need for need in needs.runs if need.of and not need.ended}
    return [
        Piece(path, _size(path), path.unlink, _why_state_stays(path, need, compared, bool(named)))
        for need in needs.runs
        if not named or need.files.root.resolve() in named
        for path in checkpoints_in(need.files.checkpoints)
    ]


def _why_state_stays(path: Path, need: Need, compared: Mapping[str, Need], named: bool) -> str:
    root = need.files.root
    if not need.ended:
        return f"{root} needs it: it is {need.state}"
    rerun = compared.get(str(root))
    if rerun is not None:
        return f"{rerun.files.root} is compared with it: it is {rerun.state}"
    if step_of(path) in need.archive and not named:
        return "checkpoint_archive keeps it; name its run to remove it"
    return ""


# --- removing -------------------------------------------------------------------------------


def remove(parts: Sequence[Part], removed: Callable[[Piece], object]) -> Tuple[int, List[str]]:
    """Remove what can go; call ``removed`` with each piece. Returns the number of bytes that are
    free now, and a sentence for each piece that could not be removed."""
    freed, faults = 0, []
    for piece in [piece for part in parts for piece in part.removable]:
        try:
            piece.remove()
        except FileNotFoundError:
            continue
        except (OSError, sqlite3.Error) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            faults.append(f"{piece.path}: cannot be removed: {why}")
        else:
            freed += piece.size
            removed(piece)
    return freed, faults


def others_may_need(host: HostContext) -> str:
    """A warning where the cache may be one of a group, whose runs are noted elsewhere; else ""."""
    root = host.cache.root
    if not host.environ.get("BUNDLE_CACHE") or not root.is_dir():
        return ""
    if not root.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        return ""
    return f"{root}: other accounts may use its images; what their runs need is not known here"


def refuse_unknown(runs: Sequence[RunFiles], needs: Needs) -> None:
    """Raise Trouble for a run that `list` does not show: nothing is known of who needs it."""
    known = {need.files.root.resolve() for need in needs.runs}
    strange = [files.root for files in runs if files.root.resolve() not in known]
    if strange:
        raise Trouble(
            [f"{root}: is not below a folder of runs that is known from here" for root in strange],
            "runs that were submitted from this account are known: python bundle.py list",
        )


def _files(folder: Path) -> List[Path]:
    return [path for path in _entries(folder) if path.is_file() and not path.is_symlink()]


def _folders(folder: Path) -> List[Path]:
    return [path for path in _entries(folder) if path.is_dir() and not path.is_symlink()]


def _entries(folder: Path) -> List[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.lstat().st_size
    return 0
