"""Two records -> the fields in which they differ, by dotted path, with both values."""

from __future__ import annotations

from typing import Any, Dict, List

from pydantic import BaseModel

from manifests.verdict.comparison import FieldDifference


def _flat(value: Any, path: str) -> Dict[str, Any]:
    """Leaves by path; a file's record is shown by its sha256, plus ``x`` where executable."""
    if isinstance(value, dict) and "sha256" in value and "executable" in value:
        return {path: value["sha256"] + (" x" if value["executable"] else "")}
    if isinstance(value, dict) and value:
        leaves: Dict[str, Any] = {}
        for key, item in value.items():
            leaves.update(_flat(item, f"{path}.{key}" if path else str(key)))
        return leaves
    return {path: value}


def field_differences(a: BaseModel, b: BaseModel) -> List[FieldDifference]:
    """In the order of ``a``'s fields, then those that only ``b`` has."""
    of_a, of_b = _flat(a.model_dump(mode="json"), ""), _flat(b.model_dump(mode="json"), "")
    paths = [*of_a, *(path for path in of_b if path not in of_a)]
    return [
        FieldDifference(path=path, a=of_a.get(path), b=of_b.get(path))
        for path in paths
        if of_a.get(path) != of_b.get(path)
    ]
