"""What no page can be made of, or put into: whole messages, and nothing is left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Dict, List, Tuple

import pytest

from container.trouble import Trouble
from manifests.host.context import HostContext
from manifests.record.run_files import RunFiles
from manifests.report import write
from manifests.report.write import report_at_the_end, write_report

NEXT = "name another file with -o"


def refusal(act: Callable[[], object]) -> Tuple[List[str], str]:
    with pytest.raises(Trouble) as caught:
        act()
    return list(caught.value.problems), caught.value.next_step


def everything(folder: Path) -> Dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_targets_that_cannot_be(
    original: RunFiles, again: RunFiles, host: HostContext, tmp_path: Path
) -> None:
    (tmp_path / "folder.html").mkdir()
    cases = {
        tmp_path / "page.pdf": ("has the suffix .pdf", "end the name with .html"),
        tmp_path / "page": ("has no suffix", "end the name with .html"),
        again.manifest / "page.html": (f"{again.manifest} is not a folder", NEXT),
        tmp_path / "folder.html": ("is not a regular file", NEXT),
        original.code / "page.html": ("lies in code/ of a run, where every file is counted", NEXT),
        again.trail / "x.html": ("lies in results/ of a run, where every file is counted", NEXT),
    }
    before = everything(tmp_path)
    for target, (problem, step) in cases.items():
        found = refusal(lambda target=target: write_report([again.root], target, host))
        assert found == ([f"{target}: {problem}"], step)
    assert everything(tmp_path) == before


def test_the_folder_of_a_page_is_made(
    original: RunFiles,
    again: RunFiles,
    host: HostContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = tmp_path / "new" / "pages" / "page.html"
    assert write_report([again.root], target, host) == target
    assert target.stat().st_size > 1000
    monkeypatch.setattr(write, "_page", lambda *_rest: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        write_report([again.root], tmp_path / "other" / "page.html", host)
    assert not (tmp_path / "other").exists()


def test_runs_that_cannot_be(
    original: RunFiles, again: RunFiles, host: HostContext, tmp_path: Path
) -> None:
    before = everything(tmp_path)
    target = tmp_path / "page.html"
    both = [original.root, again.root]
    assert refusal(lambda: write_report(both, None, host)) == (
        ["a page on 2 runs lies in none of them"],
        "say where with -o FILE",
    )
    (tmp_path / "link").symlink_to(original.root)
    assert refusal(lambda: write_report([original.root, tmp_path / "link"], target, host)) == (
        [f"{tmp_path / 'link'}: is named twice"],
        "name each run once",
    )
    (tmp_path / "link").unlink()
    nowhere = [tmp_path / "a", original.root, tmp_path / "data"]
    assert refusal(lambda: write_report(nowhere, target, host)) == (
        [
            f"{tmp_path / 'a'}: does not exist",
            f"{tmp_path / 'data'}: is not a run directory: it holds no manifest.json",
        ],
        "give a run directory or its manifest.json",
    )
    assert refusal(lambda: write_report([original.root] * 235, target, host)) == (
        ["235 runs were named, a page has room for 234"],
        "name fewer",
    )
    assert everything(tmp_path) == before


def test_a_run_without_a_result(original: RunFiles, host: HostContext) -> None:
    for path in (original.result, original.done):
        path.unlink()
    original.exit_code.write_text("1\n")
    before = everything(original.root)
    assert refusal(lambda: write_report([original.root], None, host)) == (
        [f"{original.root}: failed: it has no result to report"],
        f"see why: python bundle.py show {original.root}",
    )
    original.exit_code.unlink()
    original.job.unlink()
    assert refusal(lambda: write_report([original.root], None, host)) == (
        [f"{original.root}: was never started: it has no result to report"],
        f"start it: python bundle.py resume {original.root}",
    )
    del before[str(original.exit_code)], before[str(original.job)]
    assert everything(original.root) == before


def test_at_the_end_of_a_job_a_fault_is_a_warning(
    original: RunFiles, again: RunFiles, host: HostContext
) -> None:
    warnings: List[str] = []
    assert report_at_the_end(again, host, warnings.append) == again.report
    again.report.unlink()
    again.report.mkdir()
    assert report_at_the_end(again, host, warnings.append) is None
    (warning,) = warnings
    assert warning.startswith(f"{again.report} was not written: {again.report}: is not a regular")
    original.result.unlink()
    assert report_at_the_end(original, host, warnings.append) is None
    assert len(warnings) == 1
    assert not original.report.exists()


def test_a_report_changes_nothing_that_verify_looks_at(
    original: RunFiles, again: RunFiles, host: HostContext
) -> None:
    before = {**everything(original.root), **everything(again.root)}
    write_report([again.root], None, host)
    after = {**everything(original.root), **everything(again.root)}
    assert after.pop(str(again.report))
    assert after == before
