"""``bundle.py completion``: what a shell needs to complete verbs, options, runs, sites, keys."""

from __future__ import annotations

import click

from manifests.cli.command_line import COMPLETION_VARIABLE, PROJECT, Words, say

#: The name that a shell gets for the program.
NAME = "bundle"
SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=Words(SHELLS))
def completion(shell: str) -> None:
    """Print a shell function `bundle` with completion. It completes verbs, options, runs, sites.

    In ~/.bashrc (or ~/.zshrc): eval "$(python3 /path/to/bundle.py completion bash)";
    in ~/.config/fish/config.fish: python3 /path/to/bundle.py completion fish | source
    """
    say(source_of(shell))


def source_of(shell: str) -> str:
    """A function that calls this project's ``bundle.py``, and click's own completion of it.

    click's text asks the program by the name that stands on the command line; a function has none
    that ``env`` could start, so the program is named by its path there.
    """
    from click.shell_completion import get_completion_class

    from container.shell_word import shell_word

    program = f"python3 {shell_word(PROJECT / 'bundle.py')}"
    found = get_completion_class(shell)
    assert found is not None, shell
    text = found.source_template % {
        "complete_func": "_bundle_completion",
        "complete_var": COMPLETION_VARIABLE,
        "prog_name": NAME,
    }
    asks = f"{COMPLETION_VARIABLE}={shell}_complete"
    if shell == "bash":
        text = text.replace(f"{asks} $1)", f"{asks} {program})")
    elif shell == "zsh":
        text = text.replace(f"{asks} {NAME})", f"{asks} {program})")
        text = text.replace(f"(( ! $+commands[{NAME}] ))", "(( ! $+commands[python3] ))")
    else:
        text = text.replace(f"(commandline -t) {NAME})", f"(commandline -t) {program})")
    called = f"BUNDLE_CALLED={NAME}"
    if shell == "fish":
        function = f"function {NAME}; env {called} {program} $argv; end"
    else:
        function = f'{NAME}() {{ {called} {program} "$@"; }}'
    return f"{function}\n{text.strip()}"


def answer_shell(cli: click.Command, instruction: str) -> int:
    """Print what completes the words that a shell gives in its variables; the exit code."""
    from click.shell_completion import shell_complete

    return shell_complete(cli, {}, NAME, COMPLETION_VARIABLE, instruction)
