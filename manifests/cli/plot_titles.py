"""Words of a figure: its title, which says what differs between its runs, and their names"""

from __future__ import annotations

import json
import textwrap
from typing import Any, Dict, List

from container.utf8_text import utf8_text
from manifests.record.communicators import counted
from manifests.record.schema import Manifest
from manifests.report.curves import Curves
from manifests.verdict.short_values import shortened

#: Letters of a line of the title, and lines.
WIDTH, LINES = 110, 3
#: Letters of a line of the legend, which has the colours beside it.
LABEL_WIDTH = 130
#: Fields of a manifest that differ are named up to this number.
NAMED = 6

#: Of these only that they differ is said: a digest tells nobody anything.
_DIGESTS = ("code", "image", "data.train", "data.val", "data.mean", "data.initmodel", "determinism")


def settings_of(manifest: Manifest) -> Dict[str, str]:
    """What decides the bits of a run, by short names: values as text, digests where it has none."""
    identity = manifest.identity.model_dump(mode="json")
    found: Dict[str, str] = {}
    _flatten(identity["training"], "", found)
    _flatten(identity["world"], "", found)
    for name in _DIGESTS:
        value: Any = identity
        for part in name.split("."):
            value = value.get(part) or {}
        found[name] = json.dumps(value, sort_keys=True, allow_nan=False)
    return found


def _flatten(values: Dict[str, Any], before: str, found: Dict[str, str]) -> None:
    for name, value in values.items():
        if isinstance(value, dict):
            _flatten(value, f"{before}{name}.", found)
        elif value is not None:
            found[f"{before}{name}"] = shortened(str(value))


def differing(manifests: List[Manifest]) -> List[str]:
    """Names of the settings that are not the same in all runs."""
    settings = [settings_of(manifest) for manifest in manifests]
    names = dict.fromkeys(name for one in settings for name in one)
    return [name for name in names if len({one.get(name) for one in settings}) > 1]


def title_of(curves: List[Curves]) -> str:
    if len(curves) == 1:
        return _wrapped(f"{names_of(curves)[0]}\n{_facts(curves[0].manifest)}")
    names = differing([curve.manifest for curve in curves])
    if not names:
        return _wrapped(f"{len(curves)} runs of one identity: {_facts(curves[0].manifest)}")
    shown = names[:NAMED]
    texts = [_difference(name, curves) for name in shown]
    more = [f"{len(names) - NAMED} more"] if names[NAMED:] else []
    return _wrapped(f"differ in {', '.join([*texts, *more])}")


def _difference(name: str, curves: List[Curves]) -> str:
    if name in _DIGESTS or len(curves) > 2:
        return name
    values = [settings_of(curve.manifest).get(name, "absent") for curve in curves]
    return f"{name} {' | '.join(values)}"


def _facts(manifest: Manifest) -> str:
    training, world = manifest.identity.training, manifest.identity.world
    return (
        f"{training.arch}, {training.nclasses} classes, "
        f"{counted(world.ranks, 'rank')} of {training.batchsize} samples, "
        f"{training.optimizer.name} lr {training.optimizer.lr:g}, seed {training.seed}"
    )


def _wrapped(text: str) -> str:
    lines = [line for part in text.split("\n") for line in textwrap.wrap(part, WIDTH)]
    if len(lines) > LINES:
        lines = [*lines[: LINES - 1], f"{lines[LINES - 1]} …"]
    return "\n".join(lines)


def labels_of(curves: List[Curves]) -> List[str]:
    """The runs' names, each with its values of what differs between them, in lines that fit."""
    manifests = [curve.manifest for curve in curves]
    names = [name for name in differing(manifests) if name not in _DIGESTS][:NAMED]
    labels = []
    for text, manifest in zip(names_of(curves), manifests):
        settings = settings_of(manifest)
        values = [f"{name} {settings.get(name, 'absent')}" for name in names]
        labels.append(_folded(f"{text}  ({', '.join(values)})" if values else text))
    return labels


def _folded(label: str) -> str:
    lines = textwrap.wrap(label, LABEL_WIDTH, subsequent_indent="    ", break_on_hyphens=False)
    return "\n".join(lines)


def names_of(curves: List[Curves]) -> List[str]:
    """What to call each run in a figure: its directory's name, its path where names are equal."""
    names = [curve.files.root.name for curve in curves]
    if len(set(names)) < len(names):
        names = [str(curve.files.root) for curve in curves]
    return [utf8_text(name) for name in names]
