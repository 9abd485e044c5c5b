"""Placeholders in a profile's lines: ``--nodes={nodes}``, filled in with what a run asks for.

``{name}`` is replaced by a value. A part in double brackets is left out when a value of it is not
known, and so is the whole line when a value outside of such parts is not known.
"""

from __future__ import annotations

import re
from typing import List, Mapping, Optional

#: What each one stands for is said in docs/sites.md.
NAMES = (
    "nodes", "ranks", "ranks_per_node", "cores", "cores_per_rank", "gpus", "slots", "pe", "group",
    "walltime", "warning", "jobname",
)  # fmt: skip

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_OPTIONAL = re.compile(r"\[\[(.*?)\]\]")


def unknown_placeholders(text: str) -> List[str]:
    """The placeholders of a line that nothing can be filled into, as they are written."""
    return [f"{{{name}}}" for name in _PLACEHOLDER.findall(text) if name not in NAMES]


def filled(text: str, values: Mapping[str, Optional[str]]) -> Optional[str]:
    """The line with its values; None where one of them is not known."""

    def optional(match: re.Match[str]) -> str:
        return _whole(match[1], values) or ""

    return _whole(_OPTIONAL.sub(optional, text), values)


def _whole(text: str, values: Mapping[str, Optional[str]]) -> Optional[str]:
    if any(values.get(name) is None for name in _PLACEHOLDER.findall(text)):
        return None
    return _PLACEHOLDER.sub(lambda match: str(values[match[1]]), text)
