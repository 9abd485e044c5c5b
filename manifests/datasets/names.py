"""Names of files and classes: which ones a list can hold, how they are shown, how they differ."""

from __future__ import annotations

import re
import unicodedata
from typing import Dict, Iterable, List

NOT_UTF8 = "its name is not UTF-8"
FORM_ONLY = "differs in Unicode form only (NFC, NFD)"
INVISIBLE_ONLY = "differs in invisible characters only"
#: So many characters of a text that should be short are shown.
_EXCERPT = 200
CONTROL = re.compile(r"[\x00-\x1f\x7f]")

#: Folders and files that systems put beside what people store: thumbnails, waste baskets, found
#: pieces, snapshots. Names that begin with a dot are another matter: all of them are passed over.
SYSTEM_NAMES = frozenset(
    {
        "@eadir", "@tmp", "@recycle", "@recently-snapshot", "@__thumb", "#recycle", "#snapshot",
        "__macosx", "lost+found", "$recycle.bin", "recycler", "system volume information",
        "~snapshot", "thumbs.db", "ehthumbs.db", "desktop.ini",
    }
)  # fmt: skip


def is_system_name(name: str) -> bool:
    return name.lower() in SYSTEM_NAMES


def is_utf8(name: str) -> bool:
    """Whether a name of a file, as Python has it, is UTF-8 on the disk."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def name_problem(name: str) -> str:
    """Why no list file can hold a name; "" when one can."""
    if not is_utf8(name):
        return NOT_UTF8
    if not name.strip():
        return "its name is nothing but white space"
    return "its name has control characters" if CONTROL.search(name) else ""


def printable(text: str) -> str:
    """A text that any terminal can show: what is invisible, or no character at all, as escapes.

    Bytes that are not UTF-8 are shown as ``\\xe9``.
    """
    return text if text.isprintable() else "".join(map(_shown, text))


def excerpt(text: str) -> str:
    """The beginning of a text that may be a whole file, in which nobody expected it."""
    return printable(text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}…")


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    if "\udc80" <= character <= "\udcff":  # a byte, as Python keeps those that are not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def same_form(name: str) -> str:
    """Equal for names that look the same: some systems write é as one character, some as two."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def visible(name: str) -> str:
    """`same_form` without what nobody sees: white space at the ends, and characters such as a byte
    order mark in the middle of files that were joined."""
    if name.isascii():
        return name.strip()
    shown = (letter for letter in name if unicodedata.category(letter) != "Cf")
    return same_form("".join(shown)).strip()


class Twins:
    """Names by what one sees of them."""

    def __init__(self, names: Iterable[str]) -> None:
        self._by_look: Dict[str, List[str]] = {}
        for name in names:
            self._by_look.setdefault(visible(name), []).append(name)

    def note(self, name: str) -> str:
        """A remark on another name that looks the same; "" where none does."""
        others = [other for other in self._by_look.get(visible(name), []) if other != name]
        if not others:
            return ""
        if any(same_form(other) == same_form(name) for other in others):
            return f"; one there {FORM_ONLY}"
        return f"; one there {INVISIBLE_ONLY}"
