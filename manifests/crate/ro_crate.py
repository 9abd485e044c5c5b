"""``ro-crate-metadata.json``: a run and its reruns by the Process Run Crate profile 0.5 (pure)

https://www.researchobject.org/workflow-run-crate/profiles/0.5/process_run_crate/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Optional, Tuple
from urllib.parse import quote

from manifests.crate.facts import FileFacts, RerunFacts, RunFacts
from manifests.crate.names import RO_CRATE
from manifests.record.canonical_json import indented_json
from manifests.record.schema import Author

if TYPE_CHECKING:
    from rocrate.rocrate import ROCrate

CRATE_VERSION = "1.1"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
TERMS = "https://w3id.org/ro/terms/workflow-run/context"
SIF_IMAGE = "https://w3id.org/ro/terms/workflow-run#SIFImage"

#: RO-Crate wants a licence; one that nobody gave must not be made up.
NO_LICENCE = "No licence is stated. Ask the authors."

#: The image where it goes along.
IMAGE_FILE = "image.sif"

#: Folders that stand for the files in them.
_FOLDERS = {
    "code/": "snapshot of the code that the run executed",
    "results/trail/": "digests of each step: samples, losses, gradients, parameters",
    "logs/": "output of the run's jobs",
    "packages/": "the packages that the image is built from",
    "data/": "images of the data set",
}
_FILES = {
    "config.yaml": "the settings, as the user gave them",
    "croissant.json": "the sample tables in Croissant form",
    "image.cdx.json": "bill of materials of the image, CycloneDX",
    IMAGE_FILE: "the container image, a SIF file",
    "inputs/initmodel.npz": "parameters to begin with",
    "inputs/mean.npy": "mean image",
    "inputs/train.tsv": "training samples: sha256, label and path of each image",
    "inputs/val.tsv": "validation samples: sha256, label and path of each image",
    "job.sh": "job script",
    "manifest.json": "what was to be run, and what is promised about it",
    "result.json": "what came out: digests, metrics, versions, machine",
    "results/log.jsonl": "loss and accuracy over the epochs",
    "results/model.npz": "trained parameters",
    "verdict.json": "comparison of this rerun with the run that it repeats",
}
_FORMATS = {
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".md": "text/markdown",
    ".npy": "application/x-npy",
    ".npz": "application/x-npz",
    ".png": "image/png",
    ".sh": "application/x-sh",
    ".sif": "application/vnd.sylabs.sif",
    ".sig": "application/x-ssh-signature",
    ".tsv": "text/tab-separated-values",
    ".yaml": "application/yaml",
}
_INPUTS = ("config.yaml", "inputs/")
_OUTPUTS = ("result.json", "results/")


def ro_crate_text(run: RunFacts) -> str:
    """The text of the file; the same for the same facts, whenever it is made."""
    from rocrate.rocrate import ROCrate

    crate = ROCrate(gen_preview=False, version=CRATE_VERSION)
    crate.metadata.extra_contexts.append(TERMS)
    parts = _add_files(crate, run.files)
    image = _add_image(crate, run)
    trainer = _add_trainer(crate, run)
    shared = {"instrument": _ref(trainer), "containerImage": _ref(image)}
    actions = [_add_run(crate, run, parts, shared)]
    actions += [_add_rerun(crate, rerun, run, parts, shared) for rerun in run.reruns]
    root: Dict[str, Any] = {
        "name": f"Run {run.name}",
        "description": run.sentence,
        "datePublished": run.day,
        "conformsTo": _ref(_profile(crate)),
        "mentions": [_ref(action) for action in actions],
        "hasPart": [_ref(part) for part in parts],
    }
    if run.authors:
        root["author"] = [_ref(_add_author(crate, author)) for author in run.authors]
    licence = run.manifest.circumstance.license
    root["license"] = _ref(_add_licence(crate, licence)) if licence else NO_LICENCE
    for name, value in root.items():
        crate.root_dataset[name] = value
    document = crate.metadata.generate()
    entities = [_compact(entity) for entity in document["@graph"]]
    document["@graph"] = sorted(entities, key=lambda entity: str(entity["@id"]))
    return indented_json(document, indent=1)


def _compact(entity: Dict[str, Any]) -> Dict[str, Any]:
    """Without empty lists; a list of one is its item, as RO-Crate recommends."""
    return {
        name: value[0] if isinstance(value, list) and len(value) == 1 else value
        for name, value in entity.items()
        if value != []
    }


def _ref(identifier: str) -> Dict[str, str]:
    return {"@id": identifier}


def _add(crate: ROCrate, identifier: str, kind: Any, properties: Dict[str, Any]) -> str:
    from rocrate.model.contextentity import ContextEntity

    entity = ContextEntity(crate, identifier, properties={"@type": kind, **properties})
    crate.add(entity)
    return str(entity.id)


def _profile(crate: ROCrate) -> str:
    return _add(
        crate, PROFILE, "CreativeWork", {"name": "Process Run Crate", "version": PROFILE[-3:]}
    )


# --- files ----------------------------------------------------------------------------------


def _add_files(crate: ROCrate, files: Iterable[FileFacts]) -> List[str]:
    """Identifiers of the parts, sorted."""
    found = []
    for name in sorted({folder for folder in map(_folder_of, files) if folder}):
        found.append(_add(crate, name, "Dataset", {"name": name, "description": _FOLDERS[name]}))
    for file in files:
        if _folder_of(file) is None and file.name != RO_CRATE:
            found.append(_add_file(crate, file))
    return sorted(found)


def _folder_of(file: FileFacts) -> Optional[str]:
    return next((folder for folder in _FOLDERS if file.name.startswith(folder)), None)


def _add_file(crate: ROCrate, file: FileFacts) -> str:
    properties: Dict[str, Any] = {"name": file.name}
    if file.name in _FILES:
        properties["description"] = _FILES[file.name]
    if file.size is not None:
        properties["contentSize"] = str(file.size)
    if file.sha256 is not None:
        properties["sha256"] = file.sha256
    properties["encodingFormat"] = next(
        (form for end, form in _FORMATS.items() if file.name.endswith(end)), "text/plain"
    )
    kind: Any = ["File", "ContainerImage"] if file.name == IMAGE_FILE else "File"
    return _add(crate, quote(file.name), kind, properties)


# --- software -------------------------------------------------------------------------------


def _add_image(crate: ROCrate, run: RunFacts) -> str:
    image = run.manifest.identity.image
    properties = {
        "additionalType": _ref(SIF_IMAGE),
        "name": f"stack {image.stack}",
        "sha256": image.sha256,
        "contentSize": str(image.size),
    }
    carried = crate.dereference(IMAGE_FILE)
    if carried is not None:
        for name, value in properties.items():
            carried[name] = value
        return IMAGE_FILE
    return _add(crate, "#image", "ContainerImage", properties)


def _add_trainer(crate: ROCrate, run: RunFacts) -> str:
    """The code of the snapshot, with the libraries that the ranks reported."""
    code, git = run.manifest.identity.code, run.manifest.circumstance.git
    properties: Dict[str, Any] = {
        "name": "bundle trainer",
        "softwareVersion": run.manifest.circumstance.tool_version,
        "identifier": f"sha256:{code.digest}",
    }
    if git is not None and git.commit is not None:
        changed = " with uncommitted changes" if git.dirty else ""
        properties["description"] = f"git commit {git.commit}{changed}"
    if crate.dereference("code/") is not None:
        properties["hasPart"] = _ref("code/")
    versions = run.result.observed.versions if run.result else {}
    if versions:
        properties["softwareRequirements"] = [
            _ref(
                _add(
                    crate,
                    f"#software-{quote(name, safe='')}",
                    "SoftwareApplication",
                    {"name": name, "softwareVersion": version},
                )
            )
            for name, version in sorted(versions.items())
        ]
    return _add(crate, "#trainer", "SoftwareApplication", properties)


# --- actions --------------------------------------------------------------------------------


def _add_run(crate: ROCrate, run: RunFacts, parts: List[str], shared: Dict[str, Any]) -> str:
    circumstance, result = run.manifest.circumstance, run.result
    knobs = run.manifest.identity.determinism.environment
    properties: Dict[str, Any] = {
        **shared,
        "name": f"Run {run.name}",
        "description": f"{run.sentence}; identity {run.manifest.identity_digest}",
        "object": [_ref(part) for part in parts if part.startswith(_INPUTS)],
        "result": [_ref(part) for part in parts if part.startswith(_OUTPUTS)],
        "environment": [
            _ref(_add(crate, f"#environment-{name}", "PropertyValue", {"name": name, "value": v}))
            for name, v in sorted(knobs.items())
        ],
        "startTime": _time(result.observed.started if result else circumstance.created),
    }
    if result is not None:
        properties["endTime"] = _time(result.observed.finished)
    if not run.anonymous:
        properties["agent"] = _ref(_add_account(crate, circumstance.user))
    ended = "Failed" if run.failed else "Active"
    status = "Completed" if result is not None else ended
    properties["actionStatus"] = f"http://schema.org/{status}ActionStatus"
    return _add(crate, "#run", "CreateAction", properties)


def _add_rerun(
    crate: ROCrate, rerun: RerunFacts, run: RunFacts, parts: List[str], shared: Dict[str, Any]
) -> str:
    """An action whose results are the files that state its verdict, or the verdict itself."""
    key = quote(rerun.name, safe="")
    verdict = f"{rerun.verdict} for {rerun.steps}" if rerun.steps else rerun.verdict
    results = [name for name in map(quote, rerun.statements) if name in parts]
    if not results:
        value = {"name": "verdict", "value": verdict}
        results = [_add(crate, f"#verdict-{key}", "PropertyValue", value)]
    where = ", ".join(rerun.hosts) if not run.anonymous else ""
    machine = " ".join(filter(None, [where and f"on {where}", rerun.processor])).strip()
    properties: Dict[str, Any] = {
        **shared,
        "name": f"Rerun {rerun.name}",
        "description": f"Verdict: {verdict}" + (f"; {machine}" if machine else ""),
        "object": [_ref(part) for part in parts if part.startswith(("manifest.json", *_INPUTS))],
        "result": [_ref(result) for result in results],
        "actionStatus": "http://schema.org/CompletedActionStatus",
    }
    if rerun.ended:
        properties["endTime"] = _time(rerun.ended)
    if rerun.account is not None and not run.anonymous:
        properties["agent"] = _ref(_add_account(crate, rerun.account))
    return _add(crate, f"#rerun-{key}", "CreateAction", properties)


def _time(text: str) -> str:
    """As the profile's checks want it: 2026-01-31T23:59:58+00:00; a day as it is."""
    return f"{text[:19]}+00:00" if len(text) > 10 else text


# --- people and licence ---------------------------------------------------------------------


def _add_account(crate: ROCrate, name: str) -> str:
    return _add(crate, f"#account-{quote(name, safe='')}", "Person", {"name": name})


def _add_author(crate: ROCrate, author: Author) -> str:
    properties: Dict[str, Any] = {"name": author.name}
    if author.affiliation is not None:
        key = f"#organization-{quote(author.affiliation, safe='')}"
        properties["affiliation"] = _ref(
            _add(crate, key, "Organization", {"name": author.affiliation})
        )
    orcid = f"https://orcid.org/{author.orcid}" if author.orcid is not None else None
    return _add(crate, orcid or f"#author-{quote(author.name, safe='')}", "Person", properties)


def _add_licence(crate: ROCrate, licence: str) -> str:
    known, name = _licence(licence)
    return _add(crate, known, "CreativeWork", {"name": name})


def _licence(text: str) -> Tuple[str, str]:
    """Identifier and name of an SPDX identifier or a URL."""
    is_url = text.startswith(("http://", "https://"))
    return (text if is_url else f"https://spdx.org/licenses/{text}"), text
