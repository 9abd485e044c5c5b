"""TypedLine: the words of a command line that is being typed, as a shell would read them (pure)"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import List

#: Bash finds the beginning of the word that it replaces by these, but leaves them in it.
_KEPT_BREAKS = "$@"
#: After a backslash, within double quotes.
_ESCAPED = ("\\", '"', "$", "`")
_PLAIN = re.compile(r"[\w%+=:,./@~-]")


@dataclass(frozen=True)
class TypedLine:
    """``words`` before the one at the cursor, which is ``current``; both without their quotes.

    Of ``current`` the shell keeps the first ``kept`` characters and replaces the others, within
    ``quote`` where that one is still open.
    """

    words: List[str]
    current: str
    kept: int = 0
    quote: str = ""

    def typed_for(self, candidate: str) -> str:
        """What is to stand in the place of the characters that are replaced."""
        rest = candidate[self.kept :]
        if self.quote == "'":
            return rest.replace("'", "'\\''")
        if self.quote == '"':
            return re.sub(r'([\\"$`])', r"\\\1", rest)
        escaped = "".join(c if _PLAIN.match(c) else f"\\{c}" for c in rest)
        return f"\\{escaped}" if escaped.startswith("~") else escaped


def parse_bash_line(line: str, breaks: str) -> TypedLine:
    """``line`` up to the cursor; ``breaks`` is bash's COMP_WORDBREAKS."""
    words: List[str] = []
    word, kept, quote, begun = "", 0, "", False
    position = 0
    while position < len(line):
        letter, position = line[position], position + 1
        if quote:
            if letter == quote:
                quote, kept = "", len(word)
            elif quote + letter == '"\\' and line[position : position + 1] in _ESCAPED:
                word, position = word + line[position], position + 1
            else:
                word += letter
        elif letter.isspace():
            if begun:
                words.append(word)
            word, kept, begun = "", 0, False
            continue
        elif letter in "'\"":
            quote, kept = letter, len(word)
        elif letter == "\\":
            word, position = word + line[position : position + 1], position + 1
        else:
            if letter in breaks:
                kept = len(word) + (letter not in _KEPT_BREAKS)
            word += letter
        begun = True
    return TypedLine(words, word, kept, quote)


def parse_words(words: List[str]) -> TypedLine:
    """Words that the shell has read itself (zsh)."""
    return TypedLine(words[:-1], "".join(words[-1:]))


def parse_fish_words(words: List[str]) -> TypedLine:
    """The last one is as it was typed."""
    return TypedLine(words[:-1], parse_bash_line("".join(words[-1:]), "").current)
