"""README and docs/ held against the project: commands parse, files exist, options are known."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Iterator, List, Tuple, Type

import click
import pytest
from pydantic import BaseModel
from typing_extensions import get_args

from bundle import cli
from manifests.record.outcome import Failure, Result, TrailRecord
from manifests.record.schema import SCHEMA_VERSION, Manifest

PROJECT = Path(__file__).resolve().parents[1]
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
PROGRAM = re.compile(r"^    (?:\$ )?(?:python3? (?:/path/to/)?bundle\.py|\$bundle) (?P<words>.*)$")


def commands() -> Iterator[Tuple[str, List[str]]]:
    """(page, words after the program's name) of every command line that stands in a page."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in text.splitlines():
            match = PROGRAM.match(line)
            if match and "[" not in line:  # brackets: a synopsis
                yield page.name, shlex.split(match["words"], comments=True)


@pytest.mark.parametrize(("page", "words"), list(commands()))
def test_a_documented_command_is_one(page: str, words: List[str]) -> None:
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group):
        name, *words = words
        found = command.get_command(context, name)
        assert found is not None, f"{page}: there is no verb {name}"
        command = found
    runs = ("RUN", "RERUN", "SLICE")
    paths = ["./RUN" if word in runs else word for word in words]  # else the name of a run
    command.make_context(command.name, paths, parent=context)


def test_files_that_pages_name_exist() -> None:
    folders = r"(?:manifests|jobtemplates|container|trainer|tests|docs|examples|benchmarks)"
    named = re.compile(rf"`({folders}/[A-Za-z0-9_./-]+)`|\]\((?!https?:)([^)#\s]+)")
    made_on_a_gpu = PROJECT / "docs" / "gpu-benchmarks.md"
    missing = []
    for page in PAGES:
        for ours, linked in named.findall(page.read_text(encoding="utf-8")):
            path = PROJECT / ours if ours else page.parent / linked
            if not path.exists() and path != made_on_a_gpu:
                missing.append(f"{page.name}: {ours or linked}")
    assert missing == []


def test_the_page_on_manifests_says_which_version_is_written() -> None:
    text = (PROJECT / "docs" / "manifest.md").read_text(encoding="utf-8")
    assert f"(now {SCHEMA_VERSION})" in text
    assert f"\n| {SCHEMA_VERSION} | " in text


def models_of(kind: object) -> Iterator[Type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
        for field in kind.model_fields.values():
            yield from models_of(field.annotation)
    for inner in get_args(kind):
        yield from models_of(inner)


@pytest.mark.parametrize("record", [Manifest, Result, Failure, TrailRecord])
def test_the_page_on_manifests_names_every_field(record: Type[BaseModel]) -> None:
    text = (PROJECT / "docs" / "manifest.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", text))))
    models = list(models_of(record))
    assert [
        f"{model.__name__}.{name}"
        for model in models
        for name in model.model_fields
        if name not in named
    ] == []


def test_the_list_of_verbs_has_whole_sentences() -> None:
    text = cli.get_help(click.Context(cli, terminal_width=80))
    assert [line for line in text.splitlines() if line.endswith("...")][1:] == []


def options_of(command: click.Command) -> List[str]:
    return [name for item in command.params for name in (*item.opts, *item.secondary_opts)]


def verbs(group: click.Group = cli, before: str = "") -> Iterator[Tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from verbs(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def test_every_verb_of_data_has_json() -> None:
    assert [
        name
        for name, command in verbs()
        if name.startswith("data ") and "--json" not in options_of(command)
    ] == []


def test_options_that_prose_names_are_some_verbs() -> None:
    """``verb --option`` in backticks."""
    known = {name: options_of(command) for name, command in verbs()}
    quoted = re.compile(r"`(?:python3? )?(?:bundle\.py )?((?:data )?[a-z]+) ([^`\n]*)`")
    wrong = []
    for page in PAGES:
        for name, rest in quoted.findall(page.read_text(encoding="utf-8")):
            for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", rest):
                if name in known and option not in [*known[name], "--help"]:
                    wrong.append(f"{page.name}: {name} {option}")
    assert wrong == []
