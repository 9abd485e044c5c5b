"""Where the data of a recorded run is now: moved, or in the run; images instead of packs"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Dict, List, Mapping, Optional, Sequence, Tuple

from container.reachable import file_here, folder_here
from container.trouble import Trouble
from manifests.flows.moved_path import path_moved
from manifests.record import schema
from manifests.record.run_files import RunFiles
from manifests.rundir.own_data import with_own_data

if TYPE_CHECKING:
    from manifests.flows.swap import Swap


def parse_moved(moved: Sequence[str]) -> Dict[str, str]:
    """``OLD=NEW`` texts -> mapping. Raises Trouble for a text without both sides."""
    wrong = [f"--data {text}: expected OLD=NEW" for text in moved if not all(text.partition("="))]
    if wrong:
        raise Trouble(wrong, "for instance: --data /old/imagenet=/new/imagenet")
    return dict(text.split("=", 1) for text in moved)


#: Recorded paths of data, which ``--data OLD=NEW`` moves.
DATA = ("train_root", "val_root", "train_pack", "val_pack")


def data_here(
    files: RunFiles,
    circumstance: schema.Circumstance,
    moved: Dict[str, str],
    swap: Optional[Swap] = None,
    listed: Sequence[str] = (),
) -> schema.Circumstance:
    """Where the data is now: as :func:`data_moved`, else in the run directory itself, unless the
    data of today are wanted."""
    now = data_moved(circumstance, moved, listed)
    today = swap is not None and swap.has("data")
    return now if today else with_own_data(files, circumstance, now)


def data_moved(
    circumstance: schema.Circumstance, moved: Dict[str, str], listed: Sequence[str] = ()
) -> schema.Circumstance:
    """Where the data is now: recorded paths with a leading folder OLD replaced by NEW.

    Raises Trouble when an OLD of ``moved`` fits none of them, nor of the paths ``listed``.
    """
    values = {name: getattr(circumstance.paths, name) for name in DATA}
    recorded = {name: Path(value) for name, value in values.items() if value is not None}
    used = {old for path in listed for old in path_moved(path, moved)[1]}
    now = {}
    for name, path in recorded.items():
        now[name], fitting = path_moved(str(path), moved)
        used.update(fitting)
    unused = sorted(set(moved) - used)
    if unused:
        raise Trouble(
            [f"--data {old}={moved[old]}: no recorded data lies below {old}" for old in unused],
            "recorded roots: " + ", ".join(str(path) for path in sorted(set(recorded.values()))),
        )
    return with_paths(circumstance, now)


def with_paths(
    circumstance: schema.Circumstance, paths: Mapping[str, Optional[str]]
) -> schema.Circumstance:
    """``circumstance`` with other ``paths``, by field."""
    return circumstance.model_copy(update={"paths": circumstance.paths.model_copy(update=paths)})


def data_there(circumstance: schema.Circumstance) -> Tuple[schema.Circumstance, List[str]]:
    """Let the images stand in for packed files that are gone: how samples are loaded decides no
    bit. The warning says so."""
    paths = circumstance.paths
    packs = [pack for pack in (paths.train_pack, paths.val_pack) if pack is not None]
    gone = [pack for pack in packs if not file_here(pack)]
    roots = sorted({paths.train_root, paths.val_root})
    if not gone or not all(folder_here(root) for root in roots):
        return circumstance, []
    original = circumstance.loading.model_copy(update={"loadtype": "original"})
    again = with_paths(circumstance, {"train_pack": None, "val_pack": None})
    return again.model_copy(update={"loading": original}), [
        f"packed data is gone: {', '.join(gone)}; loadtype original is used instead of custom, "
        f"with the images in {', '.join(roots)}"
    ]


def restore_step(circumstance: schema.Circumstance) -> str:
    moved = "for data that moved: --data OLD=NEW"
    if circumstance.loading.loadtype == "custom":
        again = "pack the images again (python bundle.py data pack LIST)"
        return f"restore what was altered, or {again}; {moved}"
    return f"restore what was altered; {moved}"
