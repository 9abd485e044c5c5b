"""All descriptions of a run by file name: bill of materials, Croissant, RO-Crate (pure)"""

from __future__ import annotations

from dataclasses import replace
from typing import Dict, List

from container.digest import sha256_of_bytes
from container.recipe import Recipe
from container.sbom import sbom_text
from manifests.crate import names
from manifests.crate.croissant import SetFacts, croissant_text
from manifests.crate.facts import FileFacts, RunFacts
from manifests.crate.ro_crate import ro_crate_text


def descriptions(run: RunFacts) -> Dict[str, bytes]:
    """Files of the names :data:`names.DESCRIPTIONS`, the same for the same facts. The crate lists
    the others.

    Raises Trouble where the lock that the manifest keeps is altered.
    """
    recipe = Recipe(run.manifest.recipe.stack, run.manifest.recipe.files)
    texts = {
        names.SBOM: sbom_text(recipe.lock, recipe.sha256).encode("utf-8"),
        names.CROISSANT: samples_text(run).encode("utf-8"),
    }
    others = [file for file in run.files if file.name not in names.DESCRIPTIONS]
    made = [FileFacts(name, len(text), sha256_of_bytes(text)) for name, text in texts.items()]
    files = sorted([*others, *made], key=lambda file: file.name)
    texts[names.RO_CRATE] = ro_crate_text(replace(run, files=files)).encode("utf-8")
    return texts


def samples_text(run: RunFacts) -> str:
    """The run's sample tables in Croissant form."""
    data, sizes = run.manifest.identity.data, {file.name: file.size for file in run.files}
    sets: List[SetFacts] = []
    for name, identity in (("train", data.train), ("val", data.val)):
        file = f"inputs/{name}.tsv"
        sets.append(SetFacts(name, file, identity.sha256, sizes.get(file), identity.samples))
    return croissant_text(
        f"{run.name}-samples",
        f"Samples of the run {run.name}: which images, by sha256, in which order",
        run.day,
        sets,
        creators=[author.name for author in run.authors],
        license=run.manifest.circumstance.license,
    )
