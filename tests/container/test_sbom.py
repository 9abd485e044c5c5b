import json
from typing import Any

import pytest

from container.digest import sha256_of_bytes
from container.lock import Lock
from container.recipe import Recipe
from container.sbom import sbom_text

RECIPE = "0" * 64


def test_every_locked_file_is_a_component(recipe: Recipe) -> None:
    document = json.loads(sbom_text(recipe.lock, recipe.sha256))
    listed = {
        (part["name"], part["version"], part["hashes"][0]["content"])
        for part in document["components"]
    }
    assert listed == {(one.name, one.version, one.sha256) for one in recipe.lock.all_files}
    assert all(part["purl"].startswith("pkg:") for part in document["components"])


def test_the_bytes_are_these(small_lock: Lock) -> None:
    """They are part of the image: another digest here needs another RECIPE_FORMAT."""
    text = sbom_text(small_lock, RECIPE)
    document = json.loads(text)
    assert document["metadata"]["timestamp"] == "2023-11-14T22:13:20+00:00"
    assert document["serialNumber"] == "urn:uuid:0677f4af-9c44-5964-8566-82298b53ce1d"
    assert sha256_of_bytes(text.encode("utf-8")) == (
        "9ae995f6bed6da916623e6f793bdbd9a7bceb25d4dcbd61b45962efe672f292e"
    )


def test_the_scope_says_what_is_in_the_image(small_lock: Lock) -> None:
    tool = small_lock.debian.files[0].model_copy(update={"roles": ["tools"]})
    debian = small_lock.debian.model_copy(update={"files": [tool]})
    document = json.loads(sbom_text(small_lock.model_copy(update={"debian": debian}), RECIPE))
    scopes = {part["name"]: part["scope"] for part in document["components"]}
    assert scopes == {"hello": "excluded", "six": "required"}


@pytest.mark.parametrize(
    ("licence", "listed"),
    [
        ("BSD-3-Clause", {"license": {"id": "BSD-3-Clause"}}),
        ("NVIDIA CUDA Toolkit EULA", {"license": {"name": "NVIDIA CUDA Toolkit EULA"}}),
    ],
)
def test_licences_are_spdx_identifiers_or_names(
    small_lock: Lock, licence: str, listed: Any
) -> None:
    files = [file.model_copy(update={"licence": licence}) for file in small_lock.python.files]
    python = small_lock.python.model_copy(update={"files": files})
    document = json.loads(sbom_text(small_lock.model_copy(update={"python": python}), RECIPE))
    licences = {part["name"]: part.get("licenses") for part in document["components"]}
    assert licences == {"hello": None, "six": [listed]}
