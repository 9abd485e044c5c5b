"""The lock as a CycloneDX bill of materials; its bytes depend on the lock alone."""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Iterable

from container.lock import Lock, LockedFile, PythonFile

if TYPE_CHECKING:
    from cyclonedx.model.component import Component
    from cyclonedx.model.license import DisjunctiveLicense

#: Namespace of the identifiers that this project derives from digests.
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "tag:bundle,2026:image")


def sbom_text(lock: Lock, recipe_sha256: str) -> str:
    """CycloneDX 1.5 JSON: one component per file, with package URL and sha256."""
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion

    image = Component(
        name=f"bundle-{lock.stack}",
        version=recipe_sha256,
        type=ComponentType.CONTAINER,
        bom_ref=f"image:{lock.stack}",
    )
    metadata = BomMetaData(
        component=image, timestamp=datetime.fromtimestamp(lock.timestamp, timezone.utc), tools=[]
    )
    bom = Bom(
        serial_number=uuid.uuid5(NAMESPACE, recipe_sha256),
        metadata=metadata,
        components=list(_components(lock)),
    )
    bom.register_dependency(image, bom.components)
    outputter = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_5)
    # Written anew, because the order of keys is the library's own affair.
    document = json.loads(outputter.output_as_string())
    return (
        json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    )


def _components(lock: Lock) -> Iterable[Component]:
    for file in lock.debian.files:
        yield _component(
            file,
            type="deb",
            namespace="debian",
            qualifiers={"arch": lock.debian.architecture, "distro": lock.debian.release},
        )
    for python_file in lock.python.files:
        yield _component(python_file, type="pypi", namespace=None, qualifiers={})


def _component(
    file: LockedFile, *, type: str, namespace: str | None, qualifiers: dict[str, str]
) -> Component:
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component, ComponentScope, ComponentType
    from packageurl import PackageURL

    kind = [Property(name="bundle:kind", value=file.kind)] if isinstance(file, PythonFile) else []
    licence = file.licence if isinstance(file, PythonFile) else None
    purl = PackageURL(type, namespace, file.name, file.version, qualifiers)
    return Component(
        name=file.name,
        version=file.version,
        type=ComponentType.LIBRARY,
        scope=ComponentScope.REQUIRED if "image" in file.roles else ComponentScope.EXCLUDED,
        purl=purl,
        bom_ref=purl.to_string(),
        licenses=[_license(licence)] if licence else [],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=file.sha256)],
        properties=[
            Property(name="bundle:file", value=file.file),
            Property(name="bundle:roles", value=",".join(file.roles)),
            *kind,
        ],
    )


def _license(text: str) -> DisjunctiveLicense:
    from cyclonedx.model.license import DisjunctiveLicense
    from cyclonedx.spdx import is_supported_id

    return DisjunctiveLicense(id=text) if is_supported_id(text) else DisjunctiveLicense(name=text)
