"""What could come next on a line that is being typed, as the functions of the shells read it"""

from __future__ import annotations

import re
from typing import Callable, Dict, Iterable, Iterator, List, Tuple

from manifests.cli.completion.typed_line import (
    TypedLine,
    parse_bash_line,
    parse_fish_words,
    parse_words,
)

#: (``plain``, ``file`` or ``dir``; the word; what it means)
Offer = Tuple[str, str, str]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def _bash(arguments: List[str]) -> TypedLine:
    line = parse_bash_line(*arguments)
    return TypedLine(line.words[1:], line.current, line.kept, line.quote)  # without `bundle`


_PARSERS: Dict[str, Callable[[List[str]], TypedLine]] = {
    "bash": _bash,
    "zsh": parse_words,
    "fish": parse_fish_words,
}


def parse_line(shell: str, arguments: List[str]) -> TypedLine:
    """The line from what the shell's function passes on."""
    return _PARSERS[shell](arguments)


def answer_lines(shell: str, line: TypedLine, offers: Iterable[Offer]) -> Iterator[str]:
    """``word TEXT HELP``, ``open TEXT HELP`` for a word that goes on, ``file``, ``dir``; with tabs.

    TEXT is quoted for bash; the other shells do so themselves.
    """
    option, equals, _ = line.current.partition("=")
    joined = option + equals if equals and option.startswith("--") else ""
    for kind, word, meaning in offers:
        text = word if word.startswith(joined) else joined + word
        if kind != "plain":
            yield kind
        elif not _CONTROL.search(text):
            kind = "open" if text.endswith("=") else "word"
            if shell == "bash":
                yield f"{kind}\t{line.typed_for(text)}"
            else:
                yield f"{kind}\t{text}\t{_CONTROL.sub(' ', meaning)}"
