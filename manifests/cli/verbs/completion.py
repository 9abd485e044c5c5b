"""``bundle.py completion``: what a shell needs to complete verbs, options, runs, sites, keys."""

from __future__ import annotations

from typing import List

import click

from manifests.cli.command_line import COMPLETION_VARIABLE, PROJECT, Words, say

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=Words(SHELLS))
def completion(shell: str) -> None:
    """Print a shell function `bundle` with completion. It completes verbs, options, runs, sites.

    At the end of ~/.bashrc (or ~/.zshrc): eval "$(python3 /path/to/bundle.py completion bash)";
    in ~/.config/fish/config.fish: python3 /path/to/bundle.py completion fish | source
    """
    say(source_of(shell))


def source_of(shell: str) -> str:
    from container.shell_word import fish_word, shell_word

    quoted = fish_word if shell == "fish" else shell_word
    text = (PROJECT / "manifests" / "cli" / "completion" / f"bundle.{shell}").read_text("utf-8")
    program = quoted(PROJECT / "bundle.py")
    values = {
        "@program@": f"python3 {program}",
        # Straight to the own Python: a tab must be quick, and whatever is wrong stays silent.
        "@answers@": f"{quoted(PROJECT / '.venv' / 'bin' / 'python')} -E -s -X utf8 {program}",
        "@asked@": COMPLETION_VARIABLE,
    }
    for name, value in values.items():
        text = text.replace(name, value)
    return text.rstrip("\n")


def answer_shell(cli: click.Command, shell: str, arguments: List[str]) -> None:
    """Print what could come next on the line that the shell's function passes on."""
    from click.shell_completion import ShellComplete

    from manifests.cli.completion.answer import answer_lines, parse_line

    line = parse_line(shell, arguments)
    found = ShellComplete(cli, {}, "", "").get_completions([*line.words], line.current)
    offers = ((item.type, item.value, item.help or "") for item in found)
    say("\n".join(answer_lines(shell, line, offers)))
