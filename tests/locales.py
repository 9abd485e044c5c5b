"""Locales that are not UTF-8, made for a test; glibc's sources of them are in Debian's locales."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Dict, Tuple

import pytest

#: Language, character map: one byte per character, and one to three.
OTHERS: Tuple[Tuple[str, str], ...] = (("de_DE", "ISO-8859-1"), ("ja_JP", "EUC-JP"))


def make_locale(folder: Path, language: str, charmap: str) -> Dict[str, str]:
    """The environment in which the locale is used. Skips the test where it cannot be made."""
    name = f"{language}.{charmap}"
    if shutil.which("localedef") is None:
        pytest.skip("there is no localedef, which makes locales")
    subprocess.run(
        ["localedef", "-c", "-i", language, "-f", charmap, str(folder / name)],
        check=False,
        capture_output=True,
    )
    if not (folder / name).is_dir():
        pytest.skip("localedef has no sources of locales (Debian: apt-get install locales)")
    return {"LOCPATH": str(folder), "LC_ALL": name, "LANG": name}
