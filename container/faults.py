"""What pydantic found wrong, one sentence per key path, in the words of this project"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, Union

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from container.nearest import nearest

Location = Tuple[Union[str, int], ...]

#: Types of pydantic's errors -> what was expected, with the numbers and words of its context.
_EXPECTED: Dict[str, str] = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "list_type": "a list",
    "finite_number": "a finite number",
    "greater_than": "a number > {gt}",
    "greater_than_equal": "a number >= {ge}",
    "less_than": "a number < {lt}",
    "less_than_equal": "a number <= {le}",
    "string_pattern_mismatch": "text of the form {pattern}",
    "string_too_short": "at least {min_length} letters",
    "string_too_long": "at most {max_length} letters",
    "too_short": "a list of {min_length} or more",
    "too_long": "a list of {max_length} or fewer",
    "literal_error": "one of {expected}",
}


def key_path(location: Location) -> str:
    """``("debian", "files", 3, "sha256")`` -> ``debian.files[3].sha256``."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def faults_of(
    error: ValidationError,
    where: str,
    keys_at: Optional[Callable[[Location], Mapping[str, FieldInfo]]] = None,
    elsewhere: Callable[[Location], str] = lambda _location: "",
) -> List[str]:
    """Return ``<where>: <key path>: <what is wrong>`` for every fault, in the file's order.

    ``keys_at`` gives the keys that are known at a place: the nearest one is named beside an unknown
    one, and a description is what was expected where a pattern says it badly. ``elsewhere`` says
    of an unknown key in which other file it belongs.
    """
    sentences = []
    for fault in error.errors(include_url=False):
        location = tuple(part for part in fault["loc"] if part != "[key]")
        path = key_path(location)
        known = keys_at(location) if keys_at else {}
        lost = elsewhere(location) if fault["type"] == "extra_forbidden" else ""
        message = lost or _words(fault, known)
        sentences.append(f"{where}: {path}: {message}" if path else f"{where}: {message}")
    return sentences


def _words(fault: Any, known: Mapping[str, FieldInfo]) -> str:
    kind, context = fault["type"], fault.get("ctx", {})
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return f"is not a known key{nearest(str(fault['loc'][-1]), known)}"
    if kind == "invalid_key":
        return "is not a known key"
    if not fault["loc"] and fault["input"] is None:
        return "is empty, expected a mapping"
    if kind == "value_error":
        return str(context.get("error", fault["msg"]))
    field = known.get(str(fault["loc"][-1])) if fault["loc"] else None  # none: the whole file
    expected = _EXPECTED.get(kind)
    if kind == "string_pattern_mismatch" and field is not None and field.description:
        return f"found {_shown(fault['input'])}, expected {field.description}"
    if expected is None:
        return str(fault["msg"][0].lower() + fault["msg"][1:])
    if kind == "literal_error":
        choices = [
            word.strip("'") for word in str(context["expected"]).replace(" or ", ", ").split(", ")
        ]
        near = nearest(str(fault["input"]), choices)
        return f"found {_shown(fault['input'])}, expected one of {', '.join(choices)}{near}"
    return f"found {_shown(fault['input'])}, expected {expected.format(**context)}"


def _shown(value: object) -> str:
    """A value of a file as a person would name it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"{str(value).lower()} (a boolean)"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:57] + "...")
    if isinstance(value, (list, tuple)):
        return "a list" if value else "an empty list"
    return "a mapping"
