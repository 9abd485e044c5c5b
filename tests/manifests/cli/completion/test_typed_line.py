"""Words of a line that is being typed, and what readline is to put in the place of the last one."""

from __future__ import annotations

import subprocess

import pytest

from manifests.cli.completion.typed_line import parse_bash_line, parse_fish_words

#: COMP_WORDBREAKS of a bash without a startup file.
BREAKS = " \t\n\"'@><=;|&(:"
ODD = ["it's", 'say "x"', "a b", "$HOME", "`x`", "back\\slash", "star*", "~home", "uml-ä", "a:b"]


@pytest.mark.parametrize(
    ("line", "words", "current", "kept"),
    [
        ("", [], "", 0),
        ("bundle ", ["bundle"], "", 0),
        ("bundle  show", ["bundle"], "show", 0),
        ("bundle show @l", ["bundle", "show"], "@l", 0),
        ("bundle show a@b", ["bundle", "show"], "a@b", 1),
        ("bundle show a:b", ["bundle", "show"], "a:b", 2),
        (r"bundle show a\:b", ["bundle", "show"], "a:b", 0),
        ("bundle rerun --with=lr=1", ["bundle", "rerun"], "--with=lr=1", 10),
        (r"bundle note a\ b '' \"c", ["bundle", "note", "a b", ""], '"c', 0),
        ('bundle show x"a b', ["bundle", "show"], "xa b", 1),
        ("bundle show 'a b'c", ["bundle", "show"], "a bc", 3),
        ("bundle show a\\", ["bundle", "show"], "a", 0),
    ],
)
def test_a_line_of_bash(line: str, words: list[str], current: str, kept: int) -> None:
    typed = parse_bash_line(line, BREAKS)
    assert (typed.words, typed.current, typed.kept) == (words, current, kept)


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("opened", ["", "'", '"'])
def test_what_is_typed_for_a_name_is_read_as_that_name(name: str, opened: str) -> None:
    typed = parse_bash_line(f"bundle show {opened}", BREAKS).typed_for(name)
    script = f"printf %s {opened}{typed}{opened}"
    assert subprocess.check_output(["bash", "-c", script], text=True) == name


def test_what_bash_keeps_of_a_word_is_not_typed_again() -> None:
    assert parse_bash_line("bundle doctor --site=ts", BREAKS).typed_for("--site=tsubame3") == (
        "tsubame3"
    )
    assert parse_bash_line("bundle doctor --site=ts", " ").typed_for("--site=tsubame3") == (
        "--site=tsubame3"
    )


def test_only_the_last_word_of_fish_has_its_quotes() -> None:
    typed = parse_fish_words(["show", "it's", '"a b'])
    assert (typed.words, typed.current) == (["show", "it's"], "a b")
