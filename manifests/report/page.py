"""The page itself: one HTML file that asks for nothing else; Jinja2 with escaping behind it"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any, Mapping

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

HERE = Path(__file__).parent


def page_text(view: Mapping[str, Any]) -> str:
    """The HTML of a view; equal views give equal texts. Values are text, never markup."""
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    script = _own("page.js")
    return environment.get_template("page.html.j2").render(
        **view, style=_own("page.css"), script=script, script_hash=_source_hash(script)
    )


def _own(name: str) -> Markup:
    """A file of this folder, which goes into the page as it is."""
    return Markup((HERE / name).read_text(encoding="utf-8").rstrip("\n"))


def _source_hash(script: str) -> str:
    """As a Content-Security-Policy names a script (W3C, CSP level 3, section 2.3.1)."""
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
