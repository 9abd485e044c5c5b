#!/usr/bin/env python3
"""bundle: training runs that can be run again, bit for bit. This file is the command line."""

from __future__ import annotations

import atexit
import gc
import os
import re
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent


def enter_own_environment() -> None:
    """Go on under the project's own Python, whichever one this is; say how to make it if it is not.

    In UTF-8 mode, which worker processes inherit: names of files are the same bytes in whatever
    locale. This part must run on any python3, so it uses nothing but the standard library.
    """
    refuse_snapshot()
    own = PROJECT / ".venv"
    python = own / "bin" / "python"
    if Path(sys.prefix).resolve() == own.resolve() and sys.flags.utf8_mode:
        return
    made = os.access(own / ".installed", os.F_OK) and os.access(python, os.X_OK)
    if not made or os.environ.get("BUNDLE_ENTERED") == str(own):
        sys.stderr.write(
            f"bundle: its own environment is not there or not complete: {own}\n"
            f"-> run: make -C '{PROJECT}' setup\n"
        )
        sys.exit(2)
    os.environ["BUNDLE_ENTERED"] = str(own)
    os.environ.setdefault("BUNDLE_CALLED", called_as())
    os.execv(python, [str(python), "-X", "utf8", str(PROJECT / "bundle.py"), *sys.argv[1:]])


def called_as() -> str:
    """The words that start this program as its caller did, as a shell reads them.

    Whichever Python it was, one of its name on PATH does as well: the own one takes over.
    """
    python = getattr(sys, "orig_argv", ["python3"])[0]  # from Python 3.10 on
    name = Path(python).name
    folders = os.environ.get("PATH", "").split(os.pathsep)
    if any(os.access(Path(folder) / name, os.X_OK) for folder in folders if folder):
        python = name
    return shell_words(python, sys.argv[0])


def shell_words(*words: str) -> str:
    plain = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
    return " ".join(w if plain.fullmatch(w) else "'" + w.replace("'", "'\\''") + "'" for w in words)


def refuse_snapshot() -> None:
    """The snapshot of a run is what ran: nothing is installed in it, and nothing written.

    Python would leave compiled files there, which are not part of the snapshot.
    """
    run = PROJECT.parent
    marks = (run / "manifest.json", run / "inputs" / "train.tsv")
    if PROJECT.name != "code" or not all(os.access(mark, os.F_OK) for mark in marks):
        return
    sys.stderr.write(
        f"bundle: {PROJECT} is the snapshot of a run, and must stay as it is\n"
        f"-> with a bundle that is set up: python3 BUNDLE/bundle.py "
        f"{shell_words('rerun', str(run))}\n"
        f"-> or make one from the snapshot: {shell_words('cp', '-r', str(PROJECT))} ~/bundle && "
        f"make -C ~/bundle setup\n"
    )
    sys.exit(2)


if __name__ == "__main__":
    enter_own_environment()
    os.environ.pop("BUNDLE_ENTERED", None)
    # Python would look through all objects for garbage at the end, which takes as long as a verb.
    atexit.register(gc.freeze)

from typing import List, NoReturn, Optional

import click

from container.process import CommandFailed
from container.trouble import Trouble, fault_of
from manifests.cli.command_line import COMPLETION_VARIABLE, Verbs, note
from manifests.cli.verbs import VERBS
from manifests.cli.verbs.completion import answer_shell
from manifests.host.context import TOOL_VERSION


def give_up(error: Trouble | CommandFailed) -> NoReturn:
    note(str(error))
    sys.exit(getattr(error, "exit_code", 2))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(TOOL_VERSION, prog_name="bundle")
def cli() -> None:
    """Training runs that can be run again, bit for bit, on real clusters.

    build -> submit -> rerun. Exit codes: 0 done or identical, 1 diverged, 2 trouble,
    3 inconclusive; with --wait: the job's exit code.
    """


for verb in VERBS:
    cli.add_command(verb)


def main(arguments: Optional[List[str]] = None) -> None:
    asked = os.environ.pop(COMPLETION_VARIABLE, "")
    if asked:
        sys.exit(answer_shell(cli, asked))
    try:
        # Not cli.main(): on a closed pipe it exits with 1, which means diverged here.
        with cli.make_context("bundle.py", sys.argv[1:] if arguments is None else arguments) as at:
            cli.invoke(at)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except (Trouble, CommandFailed) as error:
        give_up(error)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        note("interrupted; nothing half-written was left")
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        give_up(Trouble(f"{name}{error.strerror}", "see to the file system, then try again"))
    except Exception as error:
        give_up(fault_of(error))


if __name__ == "__main__":
    main()
