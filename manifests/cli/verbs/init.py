"""``bundle.py init``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import List, Optional

import click

from manifests.cli.command_line import (
    PATH,
    host_context,
    note,
    say,
    say_next,
    sites_that_begin,
    stacks_that_begin,
)


def recipes_that_begin(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> List[str]:
    from manifests.config.recipes import RECIPES

    return [name for name in RECIPES if name.startswith(incomplete)]


@click.command()
@click.argument("file", type=PATH, default="config.yaml")
@click.option(
    "--site", shell_complete=sites_that_begin, help="Site profile (default: by this host)."
)
@click.option(
    "--stack", shell_complete=stacks_that_begin, help="Software stack (default: by this host)."
)
@click.option(
    "--recipe",
    shell_complete=recipes_that_begin,
    help="Published recipe: goyal2017, akiba2017, googlenet, alexnet, nin.",
)
def init(file: Path, site: Optional[str], stack: Optional[str], recipe: Optional[str]) -> None:
    """Write a commented config to FILE.

    Default: config.yaml; - prints it. `examples/` has more configs.
    """
    from container import atomic
    from container.shell_word import shell_word
    from container.trouble import Trouble
    from manifests.config.run_config import default_jobname
    from manifests.flows.new_config import new_config

    printed = str(file) == "-"
    name = default_jobname("config" if printed else str(file))
    made = new_config(host_context(), site=site, stack=stack, recipe=recipe, name=name)
    for text in made.notes:
        note(text)
    if printed:
        say(made.text.rstrip("\n"))
        return
    if file.suffix.lower() == ".json":
        raise Trouble(f"{file}: JSON has no comments", "give it a name that ends in .yaml")
    if os.path.lexists(file):
        raise Trouble(f"{file}: exists already", "give another name, or remove it")
    atomic.write_bytes(file, made.text.encode("utf-8"))
    say(f"config {file}")
    path = f"./{file}" if str(file).startswith("-") else file
    say_next(f"name your lists in it, then: python bundle.py submit --dry-run {shell_word(path)}")
