"""What the verbs share: how they speak, and the options that more than one of them has.

Imported by every call, `bundle.py --help` too: nothing slow belongs here.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, List, Optional, Sequence, Tuple

import click

from container.cache import cache_of
from container.nearest import nearest_word
from container.reachable import file_here
from container.stack_names import DEFAULT_STACK, locked_stacks
from container.trouble import Trouble
from manifests.cli.terminal import Drawn
from manifests.datasets.names import NOT_UTF8, is_utf8, printable
from manifests.host.context import HostContext, read_host_context
from manifests.record.json_numbers import json_text

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

PROJECT = Path(__file__).resolve().parents[2]


class PathArgument(click.Path):
    """A path whose name is UTF-8 all the way: records and lists, which are UTF-8, will hold it.

    ``~/`` is the home folder, also where a shell leaves it: ``--out=~/runs``.
    """

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if not str(value):  # a shell's variable that is not set: it must not mean this folder
            option = isinstance(param, click.Option)
            name = max(param.opts, key=len) if option else param.human_readable_name
            raise Trouble(f"{name}: is empty", "give a path")
        value = at_home(str(value))
        whole = str(Path(value).absolute())
        if not is_utf8(whole):
            raise Trouble(f"{printable(whole)}: {NOT_UTF8}", "rename the file or folder")
        return super().convert(value, param, ctx)


def at_home(text: str) -> str:
    """``~`` and ``~/…`` with the home folder in their place, other texts as they are."""
    home = os.environ.get("HOME", "")
    if (text == "~" or text.startswith("~/")) and home.startswith("/"):
        return home + text[1:]
    return text


PATH = PathArgument()
JSON = click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
WIDE = click.option("--wide", is_flag=True, help="Print all columns, one line per run.")
DRY = click.option("--dry-run", is_flag=True, help="Show what would be done; write nothing.")


#: More than this is a slip of the finger: each follow-up is a job in the scheduler's queue.
MOST_FOLLOW_UPS = 100
CHAIN = click.option(
    "--chain",
    type=click.IntRange(0, MOST_FOLLOW_UPS),
    default=0,
    metavar="N",
    help="Continue in up to N follow-up jobs when the walltime is over.",
)
GROUP = click.option("-g", "--group", help="Group or account to charge (default: as recorded).")
PROCESSES = click.option(
    "--processes",
    type=int,
    metavar="P",
    help="Compute the ranks on P processes, with the same bits (default: as recorded).",
)
NODES = click.option(
    "--nodes", type=int, metavar="N", help="Distribute the processes equally over N nodes."
)


class MovedArgument(click.types.StringParamType):
    """``OLD=NEW``, both with ``~/`` as the home folder."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        old, equals, new = str(value).partition("=")
        return at_home(old) + equals + at_home(new)


MOVED = click.option(
    "--data",
    "moved",
    multiple=True,
    type=MovedArgument(),
    metavar="OLD=NEW",
    help="If data moved: replace the folder OLD at the start of recorded paths with NEW.",
)


def sites_that_begin(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> List[str]:
    from jobtemplates.sites import profile_folders, profiles_in

    names = {name for folder in profile_folders(os.environ) for name in profiles_in(folder)[0]}
    return sorted(name for name in names if name.startswith(incomplete))


def stacks_that_begin(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> List[str]:
    return [name for name in locked_stacks(PROJECT) if name.startswith(incomplete)]


STACK = click.option(
    "--stack",
    default=DEFAULT_STACK,
    show_default=True,
    shell_complete=stacks_that_begin,
    help="Software stack; cpu needs no GPU.",
)
MIRROR = click.option(
    "--mirror", metavar="URL", help="Debian mirror (default: as configured on this machine)."
)


class RunArgument(PathArgument):
    """A run by its path, or by a name as manifests.rundir.run_names has them."""

    name = "run"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        path = super().convert(value, param, ctx)
        text = str(value)
        if "/" in text or file_here(path / "manifest.json"):
            return path
        from manifests.rundir.run_names import LISTED, run_named

        found = run_named(text, cache_of(os.environ))
        if found is None and not os.path.lexists(path):
            raise Trouble(f"{text}: is neither a path nor the name of a run", LISTED)
        return found or path

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> List[CompletionItem]:
        from click.shell_completion import CompletionItem

        from manifests.rundir.known_outs import known_outs
        from manifests.rundir.run_names import names_that_begin

        names = names_that_begin(incomplete, known_outs(cache_of(os.environ)))
        found = [CompletionItem(name, help=run) for name, run in names]
        return found or [CompletionItem("", type="dir")]


NAMED_RUN = RunArgument()
RUN = click.argument("run", type=NAMED_RUN)
RUNS = click.argument("runs", nargs=-1, type=NAMED_RUN)


class Verbs(click.Group):
    """Verbs; a mistyped one is answered with the nearest, which click does from 8.2 on.

    ``later`` holds the names of those that ``find`` imports when they are asked for.
    """

    def __init__(
        self,
        *args: Any,
        later: Sequence[str] = (),
        find: Optional[Callable[[str], click.Command]] = None,
        **named: Any,
    ) -> None:
        super().__init__(*args, **named)
        self.later = later
        self.find = find

    def list_commands(self, ctx: click.Context) -> List[str]:
        return [*self.later, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> Optional[click.Command]:
        if cmd_name in self.later and self.find is not None:
            return self.find(cmd_name)
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: List[str]
    ) -> Tuple[Optional[str], Optional[click.Command], List[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = nearest_word(args[0], self.list_commands(ctx))
            if near is None or "Did you mean" in error.format_message():
                raise
            raise click.UsageError(f"{error.message} Did you mean {near!r}?", ctx) from None


class Words(click.Choice):  # type: ignore[type-arg, unused-ignore]
    """One of some words; a mistyped one is answered with the nearest."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            near = nearest_word(str(value), map(str, self.choices))
            if near is None:
                raise
            text = f"{error.message} Did you mean {near!r}?"
            raise click.BadParameter(text, ctx, param) from None


#: How a shell asks for completions.
COMPLETION_VARIABLE = "_BUNDLE_COMPLETE"

#: How hints of the project name the program.
PROGRAM = "python bundle.py"

#: The words by which it was called: ``python3 ../bundle.py``, or a wrapper's own name.
CALLED = os.environ.get("BUNDLE_CALLED", PROGRAM)


def called(text: str) -> str:
    """``text`` with hints that can be copied: they name the program as it was called."""
    return text.replace(PROGRAM, CALLED)


def host_context() -> HostContext:
    return read_host_context(PROJECT, Drawn())


def say_next(text: str, err: bool = False) -> None:
    """What to do next, below what the user asked for."""
    say(f"-> {called(text)}", err=err)


def say(text: str, err: bool = False) -> None:
    """What the user asked for; ``err`` where standard output is kept for JSON."""
    click.echo(text, err=err)


def note(text: str) -> None:
    """What goes along with it."""
    click.echo(f"bundle: {called(text)}", err=True)


@cache  # a record is read more than once, its warning is said once
def warn(text: str) -> None:
    note(f"warning: {text}")


def as_json(value: Any) -> None:
    """Valid JSON for every reader: see manifests.record.json_numbers.

    Bytes of names that are not UTF-8 are escaped, as ``\\udce9``.
    """
    say(json_text(value).encode("utf-8", "backslashreplace").decode("utf-8"))
