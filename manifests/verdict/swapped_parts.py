"""A run and its rerun with parts replaced on purpose -> what was swapped, and what that did"""

from __future__ import annotations

import json
from typing import Any, List, Optional, Tuple

from container.shell_word import shell_words
from manifests.config.config_file import ALIASES
from manifests.config.recorded import recorded_keys
from manifests.record.schema import Manifest
from manifests.rundir.rerun_command import step_options
from manifests.verdict.comparison import Comparison, SwappedPart

_NAMED = 8

#: Code that ranks execute where an identity has all files of the snapshot (up to version 1.2).
_EXECUTED = ("trainer/", "manifests/record/")


def swapped_parts(a: Manifest, b: Manifest) -> List[SwappedPart]:
    """Each part that ``b``, a rerun of ``a``, took from elsewhere, in the order of the request."""
    return [_part(text, a, b) for text in b.circumstance.swapped or []]


def _part(text: str, a: Manifest, b: Manifest) -> SwappedPart:
    if text == "code":
        differs, found = _code(a, b)
    elif text == "image":
        differs, found = _image(a, b)
    elif text == "data":
        differs, found = _data(a, b)
    else:
        differs, found = _key(text, a, b)
    return SwappedPart(part=text, differs=differs, text=found)


def _code(a: Manifest, b: Manifest) -> Tuple[bool, str]:
    left, right = a.identity.code.files, b.identity.code.files
    gone = [name for name in left if name not in right]
    if a.circumstance.other_code is None:
        gone = [name for name in gone if name.startswith(_EXECUTED)]
    names = sorted([*gone, *(name for name in right if left.get(name) != right[name])])
    commits = " | ".join(_commit(manifest) for manifest in (a, b))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    text = f"code ({commits}): no file that ranks execute differs"
    if names:
        files = "1 file" if len(names) == 1 else f"{len(names)} files"
        differ = "differs" if len(names) == 1 else "differ"
        text = f"code ({commits}): {files} that ranks execute {differ}: "
        text += ", ".join(names[:_NAMED]) + more
    settings = a.identity.determinism != b.identity.determinism
    return bool(names) or settings, text + ("; determinism settings differ" if settings else "")


def _commit(manifest: Manifest) -> str:
    git = manifest.circumstance.git
    if git is None or git.commit is None:
        return "no commit"
    return f"commit {git.commit[:12]}{' and changes to it' if git.dirty else ''}"


def _image(a: Manifest, b: Manifest) -> Tuple[bool, str]:
    left, right = a.identity.image, b.identity.image
    if left.sha256 == right.sha256:
        return False, f"image: the same, {left.stack} {left.sha256[:12]}"
    sides = " | ".join(f"{image.stack} {image.sha256[:12]}" for image in (left, right))
    return True, f"image: {sides}"


def _data(a: Manifest, b: Manifest) -> Tuple[bool, str]:
    found = []
    for name in ("train", "val"):
        left, right = getattr(a.identity.data, name), getattr(b.identity.data, name)
        if left.sha256 != right.sha256:
            found.append(f"{name} {left.samples} | {right.samples} samples, another table")
    if a.identity.data.mean.sha256 != b.identity.data.mean.sha256:
        found.append("another mean image")
    return bool(found), "data: " + ("; ".join(found) or "the same images, labels, order and mean")


def _key(text: str, a: Manifest, b: Manifest) -> Tuple[bool, str]:
    name, _, value = text.partition("=")
    key = ALIASES.get(name, name)
    left, right = recorded_keys(a), recorded_keys(b)
    if key in left:
        return left[key] != right[key], f"{key}: {_shown(left[key])} | {_shown(right[key])}"
    if key == "initmodel":
        models = a.identity.data.initmodel, b.identity.data.initmodel
        sides = " | ".join(model[:12] if model else "none" for model in models)
        return models[0] != models[1], f"initmodel: {sides}"
    differs, found = _data(a, b)
    return differs, f"{key}: {value}; {found}"


def _shown(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value, allow_nan=False)
    return str(value)


def judged(comparison: Comparison, a: Manifest, b: Manifest) -> Comparison:
    """``comparison`` of ``a`` with its rerun ``b``, and what it says of the swapped parts."""
    parts = swapped_parts(a, b)
    if not parts:
        return comparison
    return comparison.model_copy(
        update={
            "swapped": parts,
            "evidence": [*_conclusion(comparison, parts), *comparison.evidence],
            "next_step": comparison.next_step or _next_step(comparison),
            "circumstances": [
                item for item in comparison.circumstances if not item.path.startswith("swapped")
            ],
        }
    )


def _conclusion(comparison: Comparison, parts: List[SwappedPart]) -> List[str]:
    if not any(part.differs for part in parts):
        return ["what was swapped is the same as in the run: this is a plain rerun"]
    if comparison.verdict == "identical":
        where = "of these steps " if comparison.steps else ""
        return [f"what was swapped did not matter: the bits {where}are the same"]
    if comparison.verdict != "diverged":
        return []
    first = comparison.first_difference
    if first is not None:
        where = f"step {first.step}" if first.step else "the initial parameters (step 0)"
        return [f"with what was swapped the bits differ from {where} on"]
    return ["with what was swapped the bits differ, in no step that both trails have"]


def _next_step(comparison: Comparison) -> Optional[str]:
    if comparison.verdict != "diverged":
        return None
    claim = comparison.steps
    options = step_options(None if claim is None else (claim.begin, claim.end))
    words = ["python", "bundle.py", "rerun", comparison.a, *options]
    return f"does the run itself repeat here? {shell_words(words)}"
