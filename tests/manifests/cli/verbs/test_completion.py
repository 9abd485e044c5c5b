"""Completion in real shells, by the documented line; as many as this host has."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import List

import pytest

from manifests.cli.verbs.completion import SHELLS
from tests.manifests.cli.verbs.conftest import PROJECT, CommandLine
from tests.terminal import Terminal, needs_tmux

RUNS = [
    "digits-20260101T000000Z-aaaa0000",
    "digits-20260102T000000Z-bbbb0000",
    "a-b-20260103T120000Z-cccc0000",
    *("base line", "a:colon", "it's", "com,ma", "do$HOME", "par(en)", "back\\slash", "uml-ä"),
]
LINES = {
    "bash": 'eval "$(python3 {program} completion bash)"',
    "zsh": 'eval "$(python3 {program} completion zsh)"',
    "fish": "python3 {program} completion fish | source",
}
LOADED = 'eval "$(python3 "it\'s the project/bundle.py" completion bash)"'
#: How each is started without its owner's settings, and a function that shows its arguments.
STARTS = {
    "bash": ("bash --norc", "args() { printf '<%s>' \"$@\"; echo .; }"),
    "zsh": ("zsh -f", "args() { printf '<%s>' \"$@\"; echo .; }"),
    "fish": ("fish --no-config", "function args; printf '<%s>' $argv; echo .; end"),
}


TYPED = [
    ("bundle submi", ["bundle", "submit"]),
    ("bundle show @l", ["bundle", "show", "@last"]),
    ("bundle show a-", ["bundle", "show", RUNS[2]]),
    ("bundle show 'bas", ["bundle", "show", "base line"]),
    ("bundle show base\\ ", ["bundle", "show", "base line"]),
    ("bundle compare @last a:c", ["bundle", "compare", "@last", "a:colon"]),
    ("bundle show it", ["bundle", "show", "it's"]),
    ("bundle show com,", ["bundle", "show", "com,ma"]),
    ("bundle show do", ["bundle", "show", "do$HOME"]),
    ('bundle show "do', ["bundle", "show", "do$HOME"]),
    ("bundle show bac", ["bundle", "show", "back\\slash"]),
    ("bundle show my", ["bundle", "show", "my folder"]),
    ("bundle rerun --out=my", ["bundle", "rerun", "--out=my folder"]),
    ("bundle doctor --site=ts", ["bundle", "doctor", "--site=tsubame"]),
    ("bundle rerun @last --with=batchs", ["bundle", "rerun", "@last", "--with=batchsize="]),
]


@pytest.fixture
def project(bundle: CommandLine) -> Path:
    """The project by a path that has to be quoted; the runs are there as far as names need them."""
    for name in RUNS:
        run = bundle.folder / "out" / name
        run.mkdir(parents=True)
        (run / "manifest.json").write_text("{}")
    (bundle.folder / "my folder").mkdir()
    (bundle.folder / "it's the project").symlink_to(PROJECT)
    return bundle.folder / "it's the project"


def evaluated(bundle: CommandLine, script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", script],
        cwd=bundle.folder,
        env={**os.environ, "BUNDLE_CACHE": str(bundle.folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("bundle show di", RUNS[1::-1]),
        ("bundle show @", ["@last"]),
        ("bundle show @last~", ["@last~1", "@last~2"]),
        ("bundle show bbbb", ["bbbb0000"]),
        ("bundle show 2026010", [name.split("-")[-2] for name in RUNS[2::-1]]),
        ("bundle status a-b digits-20260102", [RUNS[1]]),
        ("bundle doctor --site=tsubame", ["tsubame3", "tsubame4"]),
        ("bundle build --stack c", ["cpu", "cuda12"]),
        ("bundle comp", ["compare", "completion"]),
        ("bundle show di --js", ["--json"]),
        ("bundle rerun @last --with=lr_d", ["lr_decay_epochs=", "lr_decay_factor="]),
        ("bundle list --state=ru", ["running"]),
        ("bundle list --arch re", ["resnet50"]),
        ("bundle nonsense x", []),
    ],
)  # fmt: skip
def test_what_bash_is_offered(
    bundle: CommandLine, project: Path, line: str, found: List[str]
) -> None:
    script = (
        f"{LOADED}; compopt() {{ :; }}; COMP_LINE='{line}' COMP_POINT={len(line)}; "
        '_bundle_completion; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = evaluated(bundle, script)
    assert (done.stdout.split("\n")[:-1], done.stderr) == (found or [""], "")


@needs_tmux
@pytest.mark.parametrize("shell", SHELLS)
def test_tab_in_a_real_shell(bundle: CommandLine, project: Path, shell: str) -> None:
    """A line is typed up to the tab key, and then read by the shell as its words."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    start, show_words = STARTS[shell]
    cache = str(bundle.folder / "cache")
    terminal = Terminal(bundle.folder, 200, 50, BUNDLE_CACHE=cache, LC_ALL="C.UTF-8")
    try:
        terminal.say(f"exec {start}")
        terminal.say(LINES[shell].format(program=f'"{project}/bundle.py"'))
        terminal.say(show_words)
        terminal.say("args ready")
        terminal.wait(lambda text: "<ready>." in text)
        for number, (typed, words) in enumerate(TYPED):
            terminal.say("clear")
            terminal.press("-l", typed)
            terminal.press("Tab", "C-a")
            terminal.press("-l", f"args {number} ")
            terminal.press("Enter")
            screen = terminal.wait(lambda text, n=number: f"<{n}><" in text)  # type: ignore[misc]
            expected = f"<{number}>{''.join(f'<{word}>' for word in words)}."
            assert expected in screen.replace("/>", ">"), screen  # zsh removes it from a last word
    finally:
        terminal("kill-server")


def test_the_function_names_itself_in_hints(bundle: CommandLine, project: Path) -> None:
    done = evaluated(bundle, f"{LOADED}; bundle show nope")
    assert done.stderr == (
        "bundle: nope: is neither a path nor the name of a run\n"
        "-> bundle list shows the runs that were submitted from this account\n"
    )
