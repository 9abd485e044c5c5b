"""Sample tables, lists and packed files in Croissant form, which tools for data sets read (pure)

http://mlcommons.org/croissant/1.0; the records are lines of text files, taken apart by patterns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

from manifests.record.canonical_json import indented_json

VERSION = "http://mlcommons.org/croissant/1.0"

#: Pattern of each field of a line: of a run's sample table, and of a list (path, then label).
TABLE_FIELDS: Tuple[Tuple[str, str, str], ...] = (
    ("sha256", "sc:Text", r"^([0-9a-f]{64})\t"),
    ("label", "sc:Integer", r"^[0-9a-f]{64}\t([0-9]+)\t"),
    ("path", "sc:Text", r"^[0-9a-f]{64}\t[0-9]+\t(.+)$"),
)
LIST_FIELDS: Tuple[Tuple[str, str, str], ...] = (
    ("path", "sc:Text", r"^(.*\S)\s+[0-9]+\s*$"),
    ("label", "sc:Integer", r"^.*\S\s+([0-9]+)\s*$"),
)

_TERMS = """
    citeAs column equivalentProperty extract field fileObject fileProperty fileSet format includes
    isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated replace
    samplingRate separator source subField transform
"""

_WHAT = {
    "sha256": "sha256 of the image file",
    "label": "number of the class",
    "path": "path of the image file below the root of the set",
}


@dataclass(frozen=True)
class PackFacts:
    """A packed file: its name, sha256 and bytes."""

    name: str
    sha256: str
    size: int


@dataclass(frozen=True)
class SetFacts:
    """One set of samples: the file of its lines, with sha256 and size in bytes, and its pack."""

    name: str  # such as train
    file: str
    sha256: str
    size: Optional[int]
    samples: int
    fields: Sequence[Tuple[str, str, str]] = TABLE_FIELDS
    pack: Optional[PackFacts] = None


def croissant_text(
    name: str,
    description: str,
    day: str,
    sets: Sequence[SetFacts],
    *,
    creators: Sequence[str] = (),
    license: Optional[str] = None,
) -> str:
    """The text of the file; the same for the same values."""
    document: Dict[str, Any] = {
        "@context": _context(),
        "@type": "sc:Dataset",
        "conformsTo": VERSION,
        "name": name,
        "description": description,
        "datePublished": day,
        "version": "1.0.0",
        "distribution": [part for one in sets for part in _files(one)],
        "recordSet": [_records(one) for one in sets],
    }
    if creators:
        document["creator"] = [{"@type": "sc:Person", "name": creator} for creator in creators]
    if license is not None:
        document["license"] = license
    return indented_json(document, indent=1)


def _files(one: SetFacts) -> List[Dict[str, Any]]:
    described = f"{one.samples} samples, one line each"
    files = [_file(one.file, one.sha256, one.size, "text/plain", described)]
    if one.pack is not None:
        described = f"pixels of {one.file} in one file (docs/packed-data.md)"
        files.append(
            _file(
                one.pack.name, one.pack.sha256, one.pack.size, "application/octet-stream", described
            )
        )
    return files


def _file(
    name: str, sha256: str, size: Optional[int], form: str, description: str
) -> Dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "description": description,
        "contentUrl": name,
        "encodingFormat": form,
        "sha256": sha256,
        **({"contentSize": f"{size} B"} if size is not None else {}),
    }


def _records(one: SetFacts) -> Dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": one.name,
        "name": one.name,
        "description": f"the samples of {one.file}, in their order",
        "field": [_field(one, *field) for field in one.fields],
    }


def _field(one: SetFacts, name: str, kind: str, pattern: str) -> Dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"{one.name}/{name}",
        "name": name,
        "description": _WHAT[name],
        "dataType": kind,
        "source": {
            "fileObject": {"@id": one.file},
            "extract": {"fileProperty": "lines"},
            "transform": {"regex": pattern},
        },
    }


def _context() -> Dict[str, Any]:
    """The terms of the format, as its specification binds them."""
    context: Dict[str, Any] = {name: f"cr:{name}" for name in _TERMS.split()}
    context.update(
        {
            "@language": "en",
            "@vocab": "https://schema.org/",
            "cr": "http://mlcommons.org/croissant/",
            "dct": "http://purl.org/dc/terms/",
            "sc": "https://schema.org/",
            "rai": "http://mlcommons.org/croissant/RAI/",
            "conformsTo": "dct:conformsTo",
            "data": {"@id": "cr:data", "@type": "@json"},
            "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
            "examples": {"@id": "cr:examples", "@type": "@json"},
        }
    )
    return context
