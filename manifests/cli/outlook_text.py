"""The summary with which a dry run begins: where, what, how long, how much room"""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from typing import Any, Dict, List

from container.size_text import size_text
from manifests.cli.command_line import say
from manifests.cli.run_table import PLAIN_WIDTH, span
from manifests.flows.outlook import Outlook, outlook_of
from manifests.flows.plan import Plan
from manifests.host.context import HostContext
from manifests.record.run_files import RunFiles

INDENT = 11


def say_outlook(plan: Plan, host: HostContext) -> None:
    """On standard error: standard output has the job script alone."""
    say("\n".join(outlook_lines(outlook_of(plan, host), plan.files)), err=True)


def outlook_values(plan: Plan, host: HostContext) -> Dict[str, Any]:
    return {"outlook": asdict(outlook_of(plan, host))}


def outlook_lines(outlook: Outlook, files: RunFiles) -> List[str]:
    """Lines of 80 letters, but for paths, which are whole."""
    long = [
        f"{outlook.steps} steps"
        if outlook.own in (None, outlook.steps)
        else f"{outlook.own} of {outlook.steps} steps",
        *([f"walltime {outlook.walltime}"] if outlook.walltime else []),
        *([f"about {span(outlook.seconds)} at the speed of"] if outlook.like else []),
    ]
    room = "not known" if outlook.room is None else f"about {size_text(outlook.room)}"
    free = f", {size_text(outlook.free)} free" if outlook.free is not None else ""
    scarce = outlook.free is not None and outlook.free < (outlook.room or 0)
    return [
        *_wrapped("where", outlook.where),
        f"{'':{INDENT}}{files.root}",
        *_wrapped("what", outlook.what),
        *_wrapped("how long", ", ".join(long)),
        *([f"{'':{INDENT}}{outlook.like}"] if outlook.like else []),
        *_wrapped("room", f"{room}{free}{': not enough' * scarce}"),
    ]


def _wrapped(name: str, text: str) -> List[str]:
    lines = textwrap.wrap(text, PLAIN_WIDTH - INDENT, break_long_words=False)
    return [f"{name if place == 0 else '':{INDENT}}{line}" for place, line in enumerate(lines)]
