"""The page on runs: what it says, and the same bytes every time."""

from __future__ import annotations

import json
import os
import re
import shutil
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Dict, List, Tuple

from manifests.host.context import HostContext
from manifests.record.run_files import RunFiles
from manifests.report.write import write_report
from manifests.rundir.records import trail_digest
from manifests.verdict.compare import compare, load_record
from tests.manifests.report.conftest import change, part_ways

PROJECT = Path(__file__).resolve().parents[3]
NEXT = "name another file with -o"
VOID = ("meta", "link", "rect", "line", "path")


class Reader(HTMLParser):
    """Texts, and elements by name with their attributes; every element is closed in its place."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: List[str] = []
        self.elements: List[Tuple[str, Dict[str, Any]]] = []
        self.open: List[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: List[Tuple[str, Any]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID or (
            tag in ("rect", "line") and not self.get_starttag_text().endswith("/>")
        ):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: List[Tuple[str, Any]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(data.strip())

    def of(self, tag: str, **attributes: str) -> List[Dict[str, Any]]:
        return [
            found
            for name, found in self.elements
            if name == tag and attributes.items() <= found.items()
        ]

    @property
    def text(self) -> str:
        return " ".join(self.texts)


def page_of(host: HostContext, *runs: RunFiles) -> Reader:
    target = runs[0].root.parent / "page.html"
    write_report([run.root for run in runs], target, host)
    return Reader(target.read_text())


def strips(page: Reader) -> List[Tuple[str, str, str]]:
    """(class, x, width) of each rectangle that stands for steps."""
    return [
        (found["class"], found["x"], found["width"])
        for found in page.of("rect")
        if "x" in found and found["class"] in ("equal", "different", "open")
    ]


# --- what it says -----------------------------------------------------------------------------


def test_a_rerun_with_the_same_bits(original: RunFiles, again: RunFiles, host: HostContext) -> None:
    assert write_report([again.root], None, host) == again.report
    page = Reader(again.report.read_text())
    assert page.of("div", **{"class": "banner identical"})
    assert "Identical: run B gave the same bits as run A." in page.text
    assert f"rerun of {original.root.name}; 12 steps done" in page.texts
    assert strips(page) == [("equal", "0.0", "1000.0")]
    assert "Steps: 12 equal, 0 different, 0 not compared." in page.texts
    assert "node<2>" in page.texts  # text, not an element
    assert f"python bundle.py rerun {original.root}" in page.texts
    assert "The same bits came out of 1 rerun." in page.text
    assert any(text.startswith("@misc{digits-20260131T235958Z-01234567,") for text in page.texts)
    assert re.sub(r"\S+/out", "out", page.text).count("rerun_of") == 1


def test_the_verdict_is_that_of_compare_and_all_steps_are_shown(
    original: RunFiles, again: RunFiles, host: HostContext
) -> None:
    part_ways(again, 7)
    page = page_of(host, original, again)
    assert "Diverged: run B gave other bits than run A." in page.text
    comparison = compare(load_record(original), load_record(again))
    assert comparison.verdict == "diverged"
    for sentence in comparison.evidence:
        assert sentence in page.texts
    unit = 1000 / 13
    assert strips(page) == [
        ("equal", "0.0", str(round(7 * unit, 2))),
        ("different", str(round(7 * unit, 2)), str(round(6 * unit, 2))),
    ]
    assert {"steps 0 to 6: equal", "steps 7 to 12: different"} <= set(page.texts)


def test_a_rerun_that_was_stopped_and_resumed(
    original: RunFiles, again: RunFiles, host: HostContext
) -> None:
    """Its steps so far are compared; marks say where a job took over."""
    change(original.result, lambda values: values["observed"].update(resumed_at=[4, 9]))
    for rank in (0, 1):
        lines = again.trail_of(rank).read_text().splitlines(keepends=True)
        kept = [line for line in lines if json.loads(line)["step"] < 9]
        again.trail_of(rank).write_text("".join(kept))
    for path in (again.result, again.done, again.exit_code):
        path.unlink()
    page = page_of(host, original, again)
    assert "Inconclusive: nothing can be concluded of run B." in page.text
    assert "Steps: 8 equal, 0 different, 4 not compared." in page.texts
    marks = page.of("line", **{"class": "resumed"})
    assert [mark["x1"] for mark in marks if mark["x1"] != "5"] == ["384.62", "769.23"]
    assert "run A resumed after step 4" in page.texts
    assert [text for text in page.texts if re.fullmatch(r"\d+ to \d+", text)] == [
        "1 to 4",
        "5 to 9",
        "10 to 12",
    ]
    assert [text for text in page.texts if re.fullmatch(r"[0-9.]+ s", text)] == [
        "10.0 s",
        "12.5 s",
        "7.5 s",
    ]


def cut(files: RunFiles, begin: int, after: int, end: int) -> None:
    """Make it a slice of the steps after ``after``, that began with the state after ``begin``."""
    part = {"begin": begin, "after": after, "end": end}
    change(files.manifest, lambda values: values["circumstance"].update(slice=part))
    for rank in (0, 1):
        lines = files.trail_of(rank).read_text().splitlines(keepends=True)
        first = begin + 1 if begin else 0
        kept = [line for line in lines if first <= json.loads(line)["step"] <= end]
        files.trail_of(rank).write_text("".join(kept))
    digest = trail_digest(files, 2)
    change(files.result, lambda values: values["digests"].update(trail=digest))
    change(files.result, lambda values: values.update(steps=end))


def test_a_slice_is_compared_in_its_own_steps(
    original: RunFiles, again: RunFiles, host: HostContext
) -> None:
    cut(again, begin=4, after=5, end=8)
    change(again.result, lambda values: values["observed"].update(resumed_at=[2, 4]))
    page = page_of(host, original, again)
    assert f"rerun of {original.root.name} for steps 5 to 8; 4 steps done" in page.texts
    assert "Steps: 4 equal, 0 different, 8 not compared." in page.texts
    assert "run B gave the same bits as run A in steps 6..8 of 3." in page.text  # 3 epochs of one
    assert {"Shown:", "Not shown:"} <= set(page.texts)
    spans = [text for text in page.texts if re.fullmatch(r"\d+ to \d+", text)]
    assert spans == ["1 to 12", "5 to 8"]  # its job; the run that it is a slice of took over at 4
    marks = [mark["x1"] for mark in page.of("line", **{"class": "slice"})]
    assert marks[1:] == ["384.62", "692.31"]
    assert "run B, a slice, begins after step 4" in page.texts
    assert "run B, a slice, ends with step 8" in page.texts


def test_slices_together_are_one_strip_and_one_verdict(
    original: RunFiles, again: RunFiles, host: HostContext
) -> None:
    third = RunFiles(again.root.parent / "third")
    shutil.copytree(again.root, third.root)
    cut(again, begin=0, after=0, end=5)
    cut(third, begin=7, after=7, end=12)
    page = page_of(host, original, again, third)
    assert "A and its slices together" in page.texts
    assert [text for text in page.texts if text.startswith("Steps: ")] == [
        "Steps: 10 equal, 0 different, 2 not compared.",
        "Steps: 5 equal, 0 different, 7 not compared.",
        "Steps: 5 equal, 0 different, 7 not compared.",
    ]
    assert "Inconclusive: nothing can be concluded of 2 slices together." in page.text
    assert "All slices together: inconclusive" in page.texts
    assert "no slice has steps 6..7" in page.texts


def test_statements_are_listed_with_what_is_wrong(original: RunFiles, host: HostContext) -> None:
    original.statements.mkdir()
    (original.statements / "verdict.json").write_text("{}")
    page = page_of(host, original)
    assert "statements/verdict.json: is not signed: verdict.json.sig is missing" in page.texts


def test_one_run_alone_says_that_nothing_was_compared(
    original: RunFiles, host: HostContext
) -> None:
    page = page_of(host, original)
    assert "Not compared: no other run is on this page." in page.text
    assert strips(page) == [("open", "0.0", "1000.0")]
    assert "There is one run on this page." in page.texts


def test_a_rerun_without_its_original_shows_the_verdict_of_its_day(
    original: RunFiles, again: RunFiles, host: HostContext
) -> None:
    verdict = compare(load_record(original), load_record(again))
    again.verdict.write_text(verdict.model_dump_json())
    shutil.rmtree(original.root)
    page = page_of(host, again)
    name = original.root.name
    assert (
        f"Identical: this is the verdict that was recorded when run A was compared with {name}."
        in (page.text)
    )
    assert f"{name} is not there any more: nothing was compared for this page." in page.texts


def test_a_verdict_that_is_not_true_any_more(
    original: RunFiles, again: RunFiles, host: HostContext
) -> None:
    verdict = compare(load_record(original), load_record(again))
    again.verdict.write_text(verdict.model_dump_json())
    part_ways(again, 3)
    page = page_of(host, original, again)
    assert "verdict.json of run B says identical; its files say diverged now" in page.texts


def test_the_worst_of_many_runs_is_at_the_head(
    original: RunFiles, again: RunFiles, host: HostContext
) -> None:
    third = RunFiles(again.root.parent / "third")
    shutil.copytree(again.root, third.root)
    part_ways(third, 2)
    page = page_of(host, original, again, third)
    assert "Diverged: 1 of 2 runs (C) gave other bits than run A." in page.text
    assert [text for text in page.texts if text.startswith("Steps: ")] == [
        "Steps: 12 equal, 0 different, 0 not compared.",
        "Steps: 1 equal, 11 different, 0 not compared.",
    ]


def test_damage_is_said_and_the_page_is_there(
    original: RunFiles, again: RunFiles, host: HostContext
) -> None:
    again.log.write_text("no row\n")
    again.labels.write_text("{")
    again.trail_of(1).write_text("nonsense\n")
    digest = trail_digest(again, 2)
    change(again.result, lambda values: values["digests"].update(trail=digest))
    page = page_of(host, original, again)
    assert f"{again.trail_of(1)}, line 1: is not a trail record" in page.texts
    assert f"run B: {again.log}, line 1: is not a valid log row" in page.texts
    assert f"run B: {again.labels}, line 1, column 2: is not JSON: " in page.text
    assert "Steps: 0 equal, 0 different, 12 not compared." in page.texts


def test_a_page_on_one_altered_run_says_so(original: RunFiles, host: HostContext) -> None:
    digest = sha256(original.log.read_bytes()).hexdigest()
    change(original.result, lambda values: values.update(log=digest))
    heading = "Files that are not as the run left them"
    assert heading not in page_of(host, original).texts
    original.model.write_bytes(b"another")
    with original.log.open("a") as log:
        log.write("\n")
    page = page_of(host, original)
    assert heading in page.texts
    for name in ("results/model.npz", "results/log.jsonl"):
        assert f"run A: {name}: was altered: sha256 " in page.text


# --- the file -----------------------------------------------------------------------------------


def test_the_same_runs_give_the_same_bytes(
    original: RunFiles, again: RunFiles, host: HostContext, tmp_path: Path
) -> None:
    targets = [tmp_path / name for name in ("a.html", "b.html")]
    for target in targets:
        write_report([original.root, again.root], target, host)
        os.utime(original.log, (1, 1))
    assert targets[0].read_bytes() == targets[1].read_bytes()


def test_what_a_run_says_is_text_and_nothing_else(
    original: RunFiles, again: RunFiles, host: HostContext
) -> None:
    """Whoever made a run must not be able to run a script for whoever reads its page."""
    evil = "</title><script>alert(1)</script><img src=x onerror=alert(1)>\"'&{{ 7 * 7 }}"
    notes = [{"at": "now", "by": evil, "text": evil}]
    again.labels.write_text(json.dumps({"version": "1.0", "message": evil, "notes": notes}))

    def edit(values: Dict[str, Any]) -> None:
        values["circumstance"].update(host=evil, user=evil)

    change(again.manifest, edit)
    change(again.result, lambda values: values["observed"].update(cpu_model=evil))
    page = page_of(host, original, again)
    assert len(page.of("script")) == 1
    assert page.of("img") == []
    assert [
        found for _, found in page.elements if any(name.startswith("on") for name in found)
    ] == []
    assert page.texts.count(evil) >= 3


def test_the_page_asks_for_nothing(original: RunFiles, again: RunFiles, host: HostContext) -> None:
    page = page_of(host, original, again)
    for name in ("src", "href", "action", "data", "poster", "srcset"):
        addresses = [found[name] for _, found in page.elements if found.get(name)]
        assert [address for address in addresses if not address.startswith(("#", "data:,"))] == []
    policy = page.of("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert policy.startswith("default-src 'none'; ")
