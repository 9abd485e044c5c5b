"""The single entry point to YAML and JSON texts that people write.

Plain words mean what they mean in JSON: ``true``, ``false``, ``null`` and JSON's numbers are
special, everything else is text. YAML 1.1 would read ``y``, ``no`` and ``off`` as booleans,
``10:00:00`` as the number 36000, ``007`` as 7, ``1e-3`` as text and ``2026-01-31`` as a date;
for values that travel to a scheduler or a shell each of these would be a silent change.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Hashable, Iterable, Optional

import yaml

from container.trouble import Trouble


class _PlainLoader(yaml.SafeLoader):
    """SafeLoader with the resolvers below; the second of two equal keys is an error."""


# PyYAML's table of resolvers is inherited by reference: give this loader its own.
_PlainLoader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"-?(?:0|[1-9][0-9]*)", "-0123456789"),
    (
        "float",
        r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]*(?:[eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)"
        r"|-?\.[0-9]+(?:[eE][-+]?[0-9]+)?|-?\.inf|\.nan",
        "-.0123456789",
    ),
    ("merge", r"<<", "<"),
):
    _PlainLoader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first)
    )


def _mapping(loader: _PlainLoader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    seen: set[Hashable] = set()
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue
        key = loader.construct_object(key_node, deep=True)
        if isinstance(key, Hashable):
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} is given twice", key_node.start_mark
                )
            seen.add(key)
    return dict(loader.construct_mapping(node, deep=True))


def _float(loader: _PlainLoader, node: yaml.ScalarNode) -> float:
    return float(loader.construct_scalar(node).replace(".inf", "inf").replace(".nan", "nan"))


_PlainLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_PlainLoader.add_constructor("tag:yaml.org,2002:float", _float)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for key, item in pairs:
        if key in value:
            raise ValueError(f"key {key!r} is given twice")
        value[key] = item
    return value


def _parse_json(text: str, where: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        problem = f"{where}, line {error.lineno}, column {error.colno}: is not JSON: {error.msg}"
        raise Trouble(problem, "correct that line") from error
    except (ValueError, RecursionError) as error:
        raise Trouble(f"{where}: is not usable JSON: {error}", "correct the file") from error


def _parse_yaml(text: str, where: str) -> Any:
    try:
        return yaml.load(text, Loader=_PlainLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = f"{where}{place}: is not YAML: {error.problem}"
        raise Trouble(problem, "correct that line") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = f"{where}, line {line}: is not YAML: {error.reason}"
        raise Trouble(problem, "correct that line") from error
    except (yaml.YAMLError, ValueError, KeyError, RecursionError) as error:
        raise Trouble(f"{where}: is not usable YAML: {error}", "correct the file") from error


def yaml_value(text: str, where: str) -> Any:
    """The plain value of a YAML text, for instance of one value; ``where`` names it in messages.

    Raises Trouble where it is not YAML.
    """
    return _parse_yaml(text, where)


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file, without a byte order mark, with ``\\n`` line ends.

    Raises Trouble when the file is missing, unreadable or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise Trouble(f"{path}: cannot be read: {error.strerror}", "check the path") from error
    except UnicodeDecodeError as error:
        problem = f"{path}: is not UTF-8 text (byte {error.start})"
        raise Trouble(problem, "save it as UTF-8") from error


def load_yaml(path: Path) -> Any:
    """Return the plain value that the YAML file holds; a name ending in ``.json`` means JSON.

    Values are None, bool, int, float, str, list and dict. Raises Trouble when the file is
    missing, unreadable, not UTF-8, not YAML (JSON), holds a key twice, or an escape that is not a
    character.
    """
    text = read_text(path)
    parse = _parse_json if path.suffix.lower() == ".json" else _parse_yaml
    value = parse(text, str(path))
    odd = _half_character(value)
    if odd is not None:
        raise Trouble(f"{path}: {odd} is not a character", "write the character itself, in UTF-8")
    return value


def _half_character(value: Any) -> Optional[str]:
    r"""The first escape that stands for half a character (``\udce9``), which no file can hold."""
    if isinstance(value, str):
        found = re.search("[\ud800-\udfff]", value)
        return found and f"\\u{ord(found[0]):04x}"
    parts: Iterable[Any] = ()
    if isinstance(value, dict):
        parts = [*value, *value.values()]
    elif isinstance(value, list):
        parts = value
    return next(filter(None, map(_half_character, parts)), None)
