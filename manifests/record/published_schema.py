"""The JSON Schema of ``manifest.json``, kept beside this file for readers of other languages.

python -m manifests.record.published_schema > manifests/record/manifest.schema.json
"""

from __future__ import annotations

from pathlib import Path

from manifests.record.canonical_json import indented_json
from manifests.record.schema import Manifest
from manifests.record.version import SCHEMA_VERSION

PUBLISHED = Path(__file__).with_name("manifest.schema.json")


def schema_text() -> str:
    """The same text for the same models."""
    schema = Manifest.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = f"manifest.json, version {SCHEMA_VERSION}"
    return indented_json(schema)


if __name__ == "__main__":
    print(schema_text(), end="")
