"""HostAnswers: what this host says of itself when a run is planned; each question is asked here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List

from container.image import Image, recorded_image
from container.recipe import Recipe, load_recipe
from jobtemplates.script import LaunchContext
from manifests.flows.preflight import (
    built_image,
    driver_warnings,
    host_mpi_warnings,
    image_mpi,
    launch_context_of,
    options_kept_back,
    processor_warnings,
)
from manifests.flows.request import Request
from manifests.host.context import HostContext
from manifests.host.image_memory import ImageMemory
from manifests.rundir.submission import refuse_too_many_nodes


@dataclass(frozen=True)
class HostAnswers:
    """The image and how it starts; ``launch_warnings`` are those of the start."""

    recipe: Recipe
    image: Image
    launch: LaunchContext
    warnings: List[str]
    launch_warnings: List[str]


def ask_host(request: Request, host: HostContext, *, read_only: bool) -> HostAnswers:
    """Ask processor, driver, scheduler, MPI and image, the quick questions first.

    Raises Trouble where one of them cannot serve the run.
    """
    config, site = request.config, request.site
    warnings = processor_warnings(request.promises, site, host)
    warnings += driver_warnings(
        config.stack, request.promises, site.scheduler, host,
        instead=lambda: f"or write `stack: cpu` into the config{_built(host)}",
    )  # fmt: skip
    if not read_only:
        refuse_too_many_nodes(request.placed, request.layout.nodes, host, site)
    recipe = load_recipe(
        host.project,
        config.stack,
        is_built=lambda recipe: recorded_image(recipe, host.cache) is not None,
    )
    warnings += options_kept_back(site, host)
    warnings += host_mpi_warnings(site, request.placed, image_mpi(recipe), host)
    memory = ImageMemory(host.cache.root, read_only=read_only)
    image = built_image(recipe, host, memory.digest)
    launch, launch_warnings = launch_context_of(site, image.path, host, memory)
    return HostAnswers(recipe, image, launch, warnings, [*launch_warnings, *memory.warnings])


def _built(host: HostContext) -> str:
    from manifests.host.image_source import built_words

    return built_words(host)
