"""Which runs `list` shows, and in which order"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any, Dict, List, Optional, Sequence, get_args

from container.nearest import nearest
from container.trouble import Trouble
from manifests.record.keys import Arch, values_of
from manifests.rundir.run_state import State

STATES = get_args(State)
Rows = List[Dict[str, Any]]

#: Name of an order -> the row's value.
ORDERS = {
    "created": "created",
    "name": "name",
    "state": "state",
    "took": "seconds",
    "loss": "loss",
    "accuracy": "accuracy",
    "arch": "arch",
}
_AGO = re.compile(r"(?P<count>[0-9]{1,5})(?P<unit>[mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_FORMS = ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S")


def parse_since(text: str, now: datetime) -> datetime:
    """A moment in this account's time, or so long before ``now``. Raises Trouble."""
    ago = _AGO.fullmatch(text)
    if ago:
        return now - timedelta(**{_UNITS[ago["unit"]]: int(ago["count"])})
    for form in _FORMS:
        try:
            return datetime.strptime(text, form).astimezone()
        except ValueError:
            continue
    raise Trouble(
        f"--since: found {text!r}, expected a time", "for instance 2026-01-31, 3d, 12h or 30m"
    )


def refuse_unknown(states: Sequence[str], arch: Optional[str]) -> None:
    """Raise Trouble for a word that no run can have, with the nearest one."""
    wrong = [
        f"{option}: found {word!r}, expected one of {', '.join(known)}{nearest(word, known)}"
        for option, words, known in (
            ("--state", states, STATES),
            ("--arch", [arch] if arch is not None else [], values_of(Arch)),
        )
        for word in words
        if word not in known
    ]
    if wrong:
        raise Trouble(wrong, "python bundle.py list --help")


def chosen(
    rows: Rows,
    *,
    states: Sequence[str] = (),
    arch: Optional[str] = None,
    tags: Sequence[str] = (),
    since: Optional[datetime] = None,
) -> Rows:
    """Rows of any of ``states``, with all ``tags``."""
    begin = _in_name(since) if since else ""
    return [
        row
        for row in rows
        if (not states or row["state"] in states)
        and arch in (None, row["arch"])
        and set(tags) <= set(row["tags"])
        and row["created"] >= begin
    ]


def _in_name(moment: datetime) -> str:
    """As the names of runs have it."""
    utc = moment.astimezone(timezone.utc)
    return f"{utc.year:04}{utc:%m%dT%H%M%SZ}"


def in_order(rows: Rows, order: str, *, reverse: bool = False, count: Optional[int] = None) -> Rows:
    """The greatest last, or first where ``reverse``; runs without a value come first either way.
    With ``count`` the last so many."""
    name = ORDERS[order]
    without = [row for row in rows if row[name] is None]
    found = sorted(
        (row for row in rows if row[name] is not None), key=lambda row: row[name], reverse=reverse
    )
    ordered = [*without, *found]
    return ordered if count is None else ordered[len(ordered) - min(count, len(ordered)) :]
