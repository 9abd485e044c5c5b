#!/usr/bin/env python3
"""bundle: training runs that can be run again, bit for bit. This file is the command line."""

from __future__ import annotations

import os
import signal
import sys

# Strings, not pathlib, before the project's own Python takes over: it is imported there anyway.
PROJECT = os.path.dirname(os.path.realpath(__file__))  # noqa: PTH120

#: What `git bisect run` takes for "this commit cannot be tested" (git-bisect(1)).
SKIP = 125


def exit_code(code: str | int | None) -> str | int | None:
    """``code``, or with `rerun --bisect` the one for git where it is neither 0 nor 1.

    A word that is mistyped or an environment that is not there must not pass for a diverged run. An
    interrupt, 128 and more, ends the search.
    """
    asked = sys.argv[1:2] == ["rerun"] and "--bisect" in sys.argv
    return SKIP if asked and isinstance(code, int) and 1 < code < 128 else code


def enter_own_environment() -> None:
    """Go on under the project's own Python, whichever one this is; say how to make it if it is not.

    In UTF-8 mode, which worker processes inherit: names of files are the same bytes in whatever
    locale. Without Python's own variables: modules of a cluster set PYTHONPATH, and their packages
    are not those that were pinned. This part must run on any python3, so it uses nothing but the
    standard library.
    """
    refuse_snapshot()
    own = f"{PROJECT}/.venv"
    python = f"{own}/bin/python"
    as_meant = sys.flags.utf8_mode and sys.flags.ignore_environment
    if os.path.realpath(sys.prefix) == os.path.realpath(own) and as_meant:
        return
    made = os.access(f"{own}/.installed", os.F_OK) and os.access(python, os.X_OK)
    if not made or os.environ.get("BUNDLE_ENTERED") == own:
        sys.stderr.write(
            f"bundle: its own environment is not there or not complete: {own}\n"
            f"-> run: make -C '{PROJECT}' setup\n"
        )
        sys.exit(exit_code(2))
    os.environ["BUNDLE_ENTERED"] = own
    os.environ.setdefault("BUNDLE_CALLED", called_as())
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until that Python is here again
    os.execv(python, [python, "-E", "-s", "-X", "utf8", f"{PROJECT}/bundle.py", *sys.argv[1:]])


def called_as() -> str:
    """The words that start this program as its caller did, as a shell reads them.

    Whichever Python it was, one of its name on PATH does as well: the own one takes over.
    """
    python = getattr(sys, "orig_argv", ["python3"])[0]  # from Python 3.10 on
    name = os.path.basename(python)  # noqa: PTH119
    folders = os.environ.get("PATH", "").split(os.pathsep)
    if any(os.access(f"{folder}/{name}", os.X_OK) for folder in folders if folder):
        python = name
    return shell_words(python, sys.argv[0])


def shell_words(*words: str) -> str:
    """As :mod:`container.shell_word`, but shlex takes some milliseconds to import."""

    def plain(word: str) -> bool:
        letters = (letter for letter in word if letter not in "_@%+=:,./-")
        return bool(word) and all(letter.isascii() and letter.isalnum() for letter in letters)

    return " ".join(w if plain(w) else "'" + w.replace("'", "'\\''") + "'" for w in words)


def refuse_snapshot() -> None:
    """The snapshot of a run is what ran: nothing is installed in it, and nothing written.

    Python would leave compiled files there, which are not part of the snapshot.
    """
    run, name = os.path.split(PROJECT)
    marks = (f"{run}/manifest.json", f"{run}/inputs/train.tsv")
    if name != "code" or not all(os.access(mark, os.F_OK) for mark in marks):
        return
    sys.stderr.write(
        f"bundle: {PROJECT} is the snapshot of a run, and must stay as it is\n"
        f"-> with a bundle that is set up: python3 BUNDLE/bundle.py "
        f"{shell_words('rerun', run)}\n"
        f"-> or make one from the snapshot: {shell_words('cp', '-r', PROJECT)} ~/bundle && "
        f"make -C ~/bundle setup\n"
    )
    sys.exit(2)


def open_closed_streams() -> None:
    """Standard streams that the caller has closed (``>&-``) lead nowhere.

    Otherwise the next file that is opened gets their number, and with it what others print.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            taken = os.open(os.devnull, os.O_RDWR)
            if taken != number:
                os.dup2(taken, number)
                os.close(taken)
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8"))


NOTHING_LEFT = "; nothing half-written was left"


def end_early(_number: int, _frame: object) -> None:
    """Ctrl-C while modules are imported: nothing was done yet."""
    os.write(2, f"bundle: interrupted{NOTHING_LEFT}\n".encode())
    os._exit(exit_code(130))  # type: ignore[arg-type]


if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not ignored, as by nohup
        signal.signal(signal.SIGINT, end_early)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    enter_own_environment()
    open_closed_streams()
    os.environ.pop("BUNDLE_ENTERED", None)
    import atexit
    import gc

    # Python would look through all objects for garbage at the end, which takes as long as a verb.
    atexit.register(gc.freeze)
    # And again and again while modules are imported, which leaves it next to nothing to find: a
    # tenth of the time of `show`.
    gc.set_threshold(100_000, 20, 20)
    # Pydantic would read the metadata of all packages for plugins; the own environment has none.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

from typing import List, NoReturn, Optional

import click

from container.process import CommandFailed
from container.trouble import Trouble, fault_of
from manifests.cli.command_line import COMPLETION_VARIABLE, Verbs, note
from manifests.cli.verbs import VERBS, verb_named
from manifests.host import interrupts
from manifests.host.context import TOOL_VERSION


def give_up(error: Trouble | CommandFailed) -> NoReturn:
    note(str(error))
    sys.exit(getattr(error, "exit_code", 2))


def drop_unwritable() -> None:
    """What a stream that cannot be written has in its buffer goes nowhere: Python would try again
    at its end, and exit with 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def trouble_of(error: OSError) -> Trouble:
    if not error.filename and isinstance(error, FileNotFoundError):
        try:
            os.getcwd()  # noqa: PTH109
        except FileNotFoundError:
            return Trouble("the folder that you are in was removed", "cd to another one")
    name = f"{error.filename}: " if error.filename else ""
    return Trouble(f"{name}{error.strerror}", "see to the file system, then try again")


def link_loop(error: RuntimeError) -> Optional[Trouble]:
    """Before Python 3.13 pathlib has this word alone for a link that leads back to itself."""
    _, found, path = str(error).partition("Symlink loop from ")
    if not found:
        return None
    return Trouble(
        f"{path[1:-1]}: links lead in a circle there (ls -l shows where each one leads)",
        "name another path, or set the link right",
    )


def outdated(error: ModuleNotFoundError) -> Trouble:
    """The checkout is newer than its environment, which lacks a package that came with it."""
    return Trouble(
        f"its own environment has no {error.name}, which this version needs: {PROJECT}/.venv",
        f"run: {shell_words('make', '-C', PROJECT, 'setup')}",
    )


@click.group(
    cls=Verbs,
    later=list(VERBS),
    find=verb_named,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(TOOL_VERSION, prog_name="bundle")
def cli() -> None:
    """Training runs that can be run again, bit for bit, on real clusters.

    build -> submit -> rerun. Exit codes: 0 done or identical, 1 diverged, 2 trouble,
    3 inconclusive; with --wait: the job's exit code.
    """


def main(arguments: Optional[List[str]] = None) -> None:
    asked = os.environ.pop(COMPLETION_VARIABLE, "")
    if asked:
        from manifests.cli.verbs.completion import answer_shell

        answer_shell(cli, asked, sys.argv[1:])
        return
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
    except (KeyboardInterrupt, click.Abort) as error:
        note(f"{interrupts.words_of(error)}{NOTHING_LEFT}")
        sys.exit(interrupts.exit_code_of(error))
    except BrokenPipeError:
        drop_unwritable()
        sys.exit(141)
    except OSError as error:
        drop_unwritable()
        give_up(trouble_of(error))
    except RuntimeError as error:
        give_up(link_loop(error) or fault_of(error))
    except ModuleNotFoundError as error:
        own = os.path.lexists(f"{PROJECT}/{(error.name or '.').split('.')[0]}")
        give_up(fault_of(error) if own else outdated(error))
    except Exception as error:
        give_up(fault_of(error))


if __name__ == "__main__":
    interrupts.raise_first()
    try:
        try:
            main()
        except OSError as error:  # nor can it be said why
            drop_unwritable()
            sys.exit(141 if isinstance(error, BrokenPipeError) else 2)
    except SystemExit as error:
        sys.exit(exit_code(error.code))
    finally:
        interrupts.end_at_once()
