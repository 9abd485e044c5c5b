"""Swap: the parts of an old run that a rerun takes from today on purpose (``rerun --with``)."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, FrozenSet, List, Mapping, Optional, Sequence

from container.nearest import nearest
from container.trouble import Trouble
from container.yaml_text import yaml_value
from manifests.config.config_file import ALIASES, known_keys
from manifests.config.recorded import METADATA, TRAINING, WORLD
from manifests.config.run_config import NotExpanded, expanded
from manifests.host.git_checkout import is_checkout

PARTS = ("code", "image", "data")

#: Keys whose values are paths; all but the last name data.
PATHS = (
    "train", "train_root", "train_pack", "val", "val_root", "val_pack", "mean.npy", "initmodel",
)  # fmt: skip
DATA_KEYS = frozenset(PATHS[:-1])

SWAPPED_KEYS = frozenset([*TRAINING, *METADATA, *WORLD, *PATHS, "stack"])

#: Keys with which a state of the run does not fit any more, or that count before the first step
#: only.
NOT_WITH_A_STATE = frozenset(
    ["arch", "nclasses", "insize", "precision", "optimizer", "batchsize", "initmodel"]
)

NEXT_STEP = (
    "docs/rerun-with.md lists what can be swapped; for the placement of a rerun use --site, "
    "--group, --out, --processes and --nodes"
)


@dataclass(frozen=True)
class Swap:
    """``places``: part of :data:`PARTS` -> the checkout of which it is taken. ``keys``: value by
    key, as a config file would have it; paths are absolute. ``texts`` are those of the command
    line, a place aside."""

    places: Mapping[str, Path] = field(default_factory=dict)
    keys: Mapping[str, Any] = field(default_factory=dict)
    texts: Sequence[str] = ()

    @property
    def parts(self) -> FrozenSet[str]:
        """Those of :data:`PARTS` that are swapped; a key may imply one."""
        implied = {"data"} & {"data" for key in self.keys if key in DATA_KEYS}
        return frozenset({*self.places, *implied, *({"image"} if "stack" in self.keys else set())})

    def has(self, part: str) -> bool:
        return part in self.parts


NOTHING = Swap()


def parse_swap(
    texts: Sequence[str], project: Path, folder: Path, home: Optional[Path] = None
) -> Swap:
    """``code``, ``code=CHECKOUT``, ``image``, ``image=CHECKOUT``, ``data`` and ``KEY=VALUE`` texts.

    ``project`` is the checkout of which code and image are taken where none is named; relative
    paths are relative to ``folder``, ``~/`` is ``home``. Raises Trouble with every text that is
    none of these.
    """
    places: Dict[str, Path] = {}
    keys: Dict[str, Any] = {}
    problems: List[str] = []
    for text in texts:
        name, equals, value = text.partition("=")
        key = _key_of(text)
        try:
            if not name or (equals and not value):
                problems.append(f"--with {text}: expected code, image, data or KEY=VALUE")
            elif name in PARTS and not equals:
                places[name] = project
            elif name in PARTS[:2]:
                places[name] = _absolute(value, folder, home)
            elif name in PARTS or not equals:
                near = "" if equals else nearest(text, PARTS)
                problems.append(f"--with {text}: expected code, image, data or KEY=VALUE{near}")
            elif key in keys:
                problems.append(f"--with {text}: {key} is given twice")
            elif key in PATHS and (key, value) != ("initmodel", "null"):
                keys[key] = str(_absolute(value, folder, home))
            else:
                problems += _refusal(text, key)
                keys[key] = yaml_value(value, f"--with {text}")
        except NotExpanded as error:
            problems.append(f"--with {text}: {error}")
        except Trouble as trouble:
            problems += trouble.problems
    if "code" in places:
        problems += _not_a_checkout(places["code"])
    if "image" in places and not (places["image"] / "container" / "locks").is_dir():
        problems.append(
            f"--with image: {places['image']} is not a checkout of bundle: it has no locks"
        )
    if problems:
        raise Trouble(problems, NEXT_STEP)
    named = [text.partition("=")[0] if text.partition("=")[0] in PARTS else text for text in texts]
    return Swap(places, keys, tuple(dict.fromkeys(named)))


def refuse_unfit(swap: Swap, step: int, *, other_ranks: bool) -> None:
    """Raise Trouble for keys that cannot be swapped where a run begins with the old one's state
    after ``step``. ``other_ranks``: with them it has another number of ranks."""
    keys = {*NOT_WITH_A_STATE, *(WORLD if other_ranks else ())}
    unfit = [text for text in swap.texts if _key_of(text) in keys]
    if unfit:
        raise Trouble(
            [
                f"--from-step {step}: not together with --with {text}: "
                "the states of the run do not fit it"
                for text in unfit
            ],
            "swap it from the first step on: --to-step T alone",
        )


def _key_of(text: str) -> str:
    name = text.partition("=")[0]
    return ALIASES.get(name, name)


def _refusal(text: str, key: str) -> List[str]:
    if key not in known_keys():
        near = nearest(key.rpartition(".")[2], sorted(SWAPPED_KEYS))
        return [f"--with {text}: {key} is not a known key{near}"]
    if key not in SWAPPED_KEYS:
        return [f"--with {text}: {key} is not a part of what a run computes"]
    return []


def _absolute(text: str, folder: Path, home: Optional[Path]) -> Path:
    return Path(os.path.normpath(folder / expanded(text, home)))


def _not_a_checkout(folder: Path) -> List[str]:
    """Code of today must be named by a commit."""
    if not is_checkout(folder):
        return [f"--with code: {folder} is not a git checkout: its code has no commit"]
    if not (folder / "trainer" / "__main__.py").is_file():
        return [f"--with code: {folder} is not a checkout of bundle: it has no trainer"]
    return []
