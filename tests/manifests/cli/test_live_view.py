"""The lines and keys of the live view; on a real terminal it is tried in verbs/test_live.py."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Dict, List

import pytest

from manifests.cli.live_view import View, first_view, frame, pressed, window
from manifests.cli.run_detail import detail_lines, log_tail
from manifests.cli.text_cells import filled, folded, plain_text, width_of
from manifests.cli.text_chart import Series, chart
from manifests.record.run_files import RunFiles
from manifests.rundir.loss_samples import sampled_losses


def row(number: int, **changes: Any) -> Dict[str, Any]:
    return {
        "run": f"/runs/{number}", "name": f"digits-2026010{number}T000000Z-aaaa000{number}",
        "state": "running", "step": 2, "steps": 3, "percent": 66.7, "last_loss": 1.25,
        "seconds_left": 5.0, "job": "7", "images_per_second": 100.0, "checkpoint_step": 1,
        "checkpoint_age": 60.0, "walltime_left": 600.0, "resumptions": 1, "message": "漢字 – ü",
        "why": None, **changes,
    }  # fmt: skip


def detail(row: Any, width: int, height: int) -> List[str]:
    return [filled(text, width) for text in (row["name"], "漢" * 200)][:height]


ROWS = [row(number) for number in range(1, 8)]


def shown(view: View, rows: Any, width: int = 80, height: int = 24, **changes: Any) -> List[str]:
    values: Dict[str, Any] = {"title": "status", "notes": [], "keys": True, **changes}
    return [line.text for line in frame(view, rows, (width, height), detail, **values)]


@pytest.mark.parametrize("mode", ["list", "one", "two"])
def test_nothing_is_wider_or_longer_than_the_screen(mode: Any) -> None:
    view = View(mode, "/runs/3", "/runs/5")
    for width in (5, 6, 13, 20, 21, 40, 69, 70, 80, 131):
        for height in (1, 2, 3, 5, 10, 24, 60):
            for notes in ([], ["a long warning " * 20]):
                lines = shown(view, ROWS, width, height, notes=notes)
                assert len(lines) <= height
                assert max(map(width_of, lines)) <= width, (width, height, lines)


def test_a_list_that_fits_is_whole_in_20_columns() -> None:
    text = "".join(line[2:] for line in shown(View(), ROWS[:1], 20, 40))
    assert "digits-20260101T000000Z-aaaa0001" in text
    assert "checkpoint after step 1, 1m00s ago" in text
    assert "漢字 – ü" in text


def test_the_chosen_run_is_marked_without_colours_and_seen() -> None:
    for number in range(1, 8):
        lines = shown(View(chosen=f"/runs/{number}", marked="/runs/1"), ROWS, 80, 12)
        assert [line for line in lines if line.startswith(">")] == [
            line for line in lines if f"aaaa000{number}" in line
        ]
    assert "  5 more runs above or below" in lines
    assert shown(View(chosen="/gone"), ROWS)[2].startswith("> digits-20260101")
    assert shown(View(), [])[:2] == ["status", "no run is under way"]


def test_names_of_any_bytes_move_nothing() -> None:
    odd = [row(1, name="a\x1b[2Jb\n\udcffc", message="x\ty\x07", why="\x1b]0;t\x07")]
    for mode in ("list", "one"):
        text = "".join(shown(View(mode), odd))  # type: ignore[arg-type]
        assert "\x1b" not in text and text.isprintable()
        assert "ab ?c" in text


def test_keys() -> None:
    view = first_view(ROWS, named=False)
    assert view == View("list", "/runs/1")
    view = pressed(pressed(view, "down", ROWS), "down", ROWS)
    assert view.chosen == "/runs/3"
    assert pressed(view, "up", ROWS[2:]).chosen == "/runs/3"
    one = pressed(view, "look", ROWS)
    assert (one.mode, one.chosen) == ("one", "/runs/3")
    assert pressed(one, "down", ROWS) == View("one", "/runs/4")
    assert pressed(one, "back", ROWS) == View("list", "/runs/3")
    marked = pressed(view, "compare", ROWS)
    assert marked == View("list", "/runs/3", "/runs/3")
    assert pressed(marked, "compare", ROWS).marked is None
    two = pressed(pressed(marked, "down", ROWS), "compare", ROWS)
    assert two == View("two", "/runs/4", "/runs/3")
    assert pressed(two, "back", ROWS) == View("list", "/runs/4", "/runs/3")
    assert pressed(View("list", "/runs/4", "/runs/3"), "back", ROWS).marked is None
    assert pressed(one, "down", []).mode == "list"
    assert first_view(ROWS[:1], named=True).mode == "one"
    assert first_view(ROWS[:2], named=True) == View("two", "/runs/2", "/runs/1")
    assert first_view(ROWS, named=True).mode == "list"


def test_two_runs_stand_beside_each_other_or_below() -> None:
    view = View("two", "/runs/2", "/runs/1")
    beside = shown(view, ROWS)[1]
    assert "aaaa0001" in beside and " | digits" in beside and "aaaa0002" in beside
    below = shown(view, ROWS, 60, 24)
    assert "aaaa0001" in below[1] and "-" * 60 in below
    assert "aaaa0002" in shown(View("two", "/runs/2", "/gone"), ROWS)[1]


def test_a_window_of_places() -> None:
    assert window([2, 2, 2, 2], 0, 5) == (0, 2)
    assert window([2, 2, 2, 2], 3, 5) == (2, 4)
    assert window([9], 0, 5) == (0, 1)


# --- texts and curves -----------------------------------------------------------------------


def test_cells() -> None:
    assert plain_text("a\x1b[31mb\x1b[0m\tc\x1b]0;title\x07d\x07e") == "ab      cd e"
    assert plain_text("10%\r20%\r") == "20%"
    assert width_of("漢e\u0301") == 3
    assert folded("漢漢漢", 5) == ["漢漢", "漢"]
    assert folded("", 5) == [""]
    assert (filled("漢漢", 3), filled("a", 3)) == ("漢 ", "a  ")


def test_a_chart() -> None:
    lines = chart(
        [Series(".", [(1, 1.0), (2, 0.5), (3, math.nan)]), Series("o", [(3, 0.0)])], 30, 5
    )
    assert lines == [
        "       1|.",
        "        |",
        "        |          .",
        "       0|                    o",
        "        +1                   3",
    ]
    assert chart([], 80, 10) == chart([Series(".", [(1, math.inf)])], 80, 10) == []
    assert chart([Series(".", [(1, 1)])], 19, 10) == chart([Series(".", [(1, 1)])], 80, 3) == []
    assert len(chart([Series(".", [(1, 2.5)] * 3)], 40, 6)) == 6


def test_a_long_trail_is_read_in_places(tmp_path: Path) -> None:
    trail = tmp_path / "rank-00000.jsonl"
    assert sampled_losses(trail, 10) == []
    lines = [
        json.dumps({"step": n, "loss": float(n).hex(), "x": "y" * 150}) for n in range(1, 9001)
    ]
    trail.write_text('{"step": 0, "parameters": {}}\n' + "\n".join(lines) + '\n{"step": 9001, "lo')
    found = sampled_losses(trail, 50)
    assert 40 <= len(found) <= 80
    assert all(loss == step for step, loss in found)
    assert found[0][0] == 1 and found[-1][0] == 9000
    trail.write_text("\n".join(lines[:5]) + "\nx\n7\n")
    assert sampled_losses(trail, 50) == [(n, float(n)) for n in range(1, 6)]


def test_one_run(finished_run: RunFiles) -> None:
    files = finished_run
    (files.logs).mkdir(exist_ok=True)
    (files.logs / "stdout.log").write_text("".join(f"line {n}\x1b[1m\n" for n in range(20)))
    rows = [{"iteration": n, "validation/main/loss": 1.0 / n} for n in range(1, 4)]
    files.log.write_text("".join(json.dumps(one) + "\n" for one in rows))
    one = row(1, run=str(files.root), name=files.root.name)
    lines = detail_lines(one, 80, 24)
    assert lines[0] == files.root.name
    assert lines[1] == "running  step 2/3  66.7%  loss 1.25  5s left"
    assert "job 12.345 of local, submitted 2026-01-31T23:59:58Z on node1" in lines
    assert sum(line.partition("|")[2].count("o") for line in lines) == 3
    assert lines[-2:] == ["line 18", "line 19"]
    assert log_tail(files, 2) == lines[-2:]
    for width in (3, 20, 80):
        for height in range(1, 40):
            lines = detail_lines(one, width, height)
            assert len(lines) <= height and max(map(width_of, lines)) <= width
    for path in (files.log, files.trail_of(0), files.job, files.manifest):
        path.unlink()
    assert detail_lines(one, 80, 24)[0] == files.root.name
