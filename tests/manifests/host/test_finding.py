"""The table of findings: facts in, the whole finding out."""

from __future__ import annotations

from container.trouble import Trouble
from manifests.host.finding import (
    as_values,
    exit_code,
    fail,
    lines,
    of_trouble,
    ok,
    on_other_hosts,
    tally,
    warn,
)


def test_the_table() -> None:
    trouble = Trouble(["the image was altered", "  and more"], "build it again")
    findings = {"cores": ok("2 can be used"), "image": of_trouble(trouble), "MPI": warn("a", "b")}
    assert lines(findings) == [
        ("ok", "cores  2 can be used", ""),
        (
            "fail",
            "image  the image was altered",
            "\n               and more\n" + " " * 13 + "-> build it again",
        ),
        ("warn", "MPI    a", "\n             -> b"),
    ]
    assert tally(findings) == "1 ok, 1 warn, 1 fail"
    assert exit_code(findings) == 2
    assert exit_code({"MPI": findings["MPI"]}) == 0
    assert as_values(findings)[2] == {
        "check": "MPI",
        "state": "warn",
        "found": "a",
        "advice": "b",
    }


def test_what_fails_on_a_login_node_is_a_warning_for_its_nodes() -> None:
    assert on_other_hosts(fail("no driver", "x"), "abci3") == warn(
        "no driver (on this host; jobs of site abci3 run on others)", "x"
    )
    assert on_other_hosts(ok("fine"), "abci3") == ok("fine")
