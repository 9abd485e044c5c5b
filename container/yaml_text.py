"""The one door to YAML; JSON is read through it too, being nearly a subset."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Hashable

import yaml

from container.trouble import Trouble


class _UniqueKeyLoader(yaml.SafeLoader):
    """PyYAML keeps the last of two equal keys in silence; here the second one is an error."""


def _mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    seen: set[Hashable] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if isinstance(key, Hashable) and key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {key!r} is given twice", key_node.start_mark
            )
        seen.add(key)
    return dict(loader.construct_mapping(node, deep=True))


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def load_yaml(path: Path) -> Any:
    """Return the plain value that the YAML or JSON file holds.

    Raises Trouble when the file is missing, unreadable, not UTF-8 or not YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise Trouble(f"{path}: cannot be read: {error.strerror}", "check the path") from error
    except UnicodeDecodeError as error:
        problem = f"{path}: is not UTF-8 text (byte {error.start})"
        raise Trouble(problem, "save it as UTF-8") from error
    try:
        return yaml.load(text, Loader=_UniqueKeyLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = f"{path}{where}: is not YAML: {error.problem}"
        raise Trouble(problem, "correct that line") from error
    except yaml.YAMLError as error:
        raise Trouble(f"{path}: is not YAML: {error}", "correct the file") from error
