"""Finding: the result of one check of this host, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Iterable, List, Mapping, Tuple

from typing_extensions import Literal

from container.process import CommandFailed
from container.trouble import Trouble

State = Literal["ok", "warn", "fail"]
#: From the best to the worst.
STATES: Tuple[State, ...] = ("ok", "warn", "fail")


@dataclass(frozen=True)
class Finding:
    """``advice`` says what to do; it is empty where nothing is to be done."""

    state: State
    found: str
    advice: str = ""


def ok(found: str) -> Finding:
    return Finding("ok", found)


def warn(found: str, advice: str) -> Finding:
    return Finding("warn", found, advice)


def fail(found: str, advice: str) -> Finding:
    return Finding("fail", found, advice)


def of_trouble(trouble: Trouble) -> Finding:
    return fail("\n".join(trouble.problems), trouble.next_step)


def of_failure(error: CommandFailed, advice: str) -> Finding:
    return fail(str(error), advice)


def together(findings: Iterable[Finding], otherwise: str) -> Finding:
    """One finding of several: all that is not well, in the worst state; else ``otherwise``."""
    wrong = [finding for finding in findings if finding.state != "ok"]
    if not wrong:
        return ok(otherwise)
    advices = dict.fromkeys(finding.advice for finding in wrong)
    return Finding(
        worst(finding.state for finding in wrong),
        "; ".join(finding.found for finding in wrong),
        "; ".join(advices),
    )


def on_other_hosts(finding: Finding, site: str) -> Finding:
    """A finding on this host where the jobs of ``site`` run on others: no reason to stop."""
    if finding.state == "ok":
        return finding
    return warn(
        f"{finding.found} (on this host; jobs of site {site} run on others)", finding.advice
    )


def worst(states: Iterable[State]) -> State:
    return max(states, key=STATES.index, default="ok")


def exit_code(findings: Mapping[str, Finding]) -> int:
    """0 where nothing failed, else 2, as for any other trouble."""
    return 2 if any(finding.state == "fail" for finding in findings.values()) else 0


def tally(findings: Mapping[str, Finding]) -> str:
    """``12 ok, 1 warn, 0 fail``"""
    states = [finding.state for finding in findings.values()]
    return ", ".join(f"{states.count(state)} {state}" for state in STATES)


def lines(findings: Mapping[str, Finding]) -> List[Tuple[State, str, str]]:
    """(state, the line's other text, the lines below it) per check, to be drawn."""
    width = max(map(len, findings), default=0)
    indent = " " * (width + 8)
    rows = []
    for name, finding in findings.items():
        first, *more = finding.found.splitlines() or [""]
        below = more + [f"-> {line}" for line in finding.advice.splitlines()]
        rows.append(
            (
                finding.state,
                f"{name.ljust(width)}  {first}",
                "".join(f"\n{indent}{line}" for line in below),
            )
        )
    return rows


def as_values(findings: Mapping[str, Finding]) -> List[Dict[str, str]]:
    """For JSON: what the table shows, in its order."""
    return [
        {
            "check": name,
            "state": finding.state,
            "found": finding.found,
            "advice": finding.advice,
        }
        for name, finding in findings.items()
    ]
