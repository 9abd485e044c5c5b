"""The verbs of ``bundle.py``, one file each, imported when it is called"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Dict

if TYPE_CHECKING:
    import click

#: Verb -> its file, which defines it under that name; in the order of a run's life.
VERBS: Dict[str, str] = {
    name: {"list": "list_", "import": "import_"}.get(name, name)
    for name in (
        "doctor",
        "build",
        "lock",
        "init",
        "submit",
        "resume",
        "list",
        "status",
        "show",
        "note",
        "logs",
        "plot",
        "cancel",
        "rerun",
        "compare",
        "report",
        "verify",
        "attest",
        "crate",
        "cite",
        "export",
        "import",
        "demo",
        "data",
        "clean",
        "completion",
    )
}


def verb_named(name: str) -> click.Command:
    """Raises KeyError for a word that is no verb."""
    module = import_module(f"manifests.cli.verbs.{VERBS[name]}")
    found: click.Command = getattr(module, VERBS[name])
    return found
