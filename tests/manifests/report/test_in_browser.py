"""The page on runs in real Chromium: no errors, no requests; on a phone, by keyboard, in print."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, Iterator, List

import numpy as np
import pytest
from PIL import Image

from container.progress import Silent
from manifests.host.context import read_host_context
from manifests.report.write import write_report
from tests.browser import Page, find_chromium
from tests.manifests.report.conftest import part_ways, rerun_of, with_log

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium on PATH"),
]

PROJECT = Path(__file__).resolve().parents[3]
WIDTHS = (390, 1280)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with Page(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def address(finished_run: Any, tmp_path: Path) -> str:
    """A page on three runs: one that is the same, one that parts, with names that no line holds."""
    original = with_log(finished_run)
    same, other = rerun_of(original, "same-" + "long" * 30), rerun_of(original, "other")
    part_ways(other, 7)
    target = tmp_path / "page.html"
    host = read_host_context(PROJECT, Silent())
    write_report([original.root, same.root, other.root], target, host)
    return target.as_uri()


def test_no_errors_and_no_requests(browser: Page, address: str) -> None:
    for width in WIDTHS:
        for dark in (False, True):
            browser.size(width, mobile=width < 500)
            browser.media(dark=dark)
            browser.open(address)
            assert browser.errors() == []
            assert browser.requests() == []
            # Nothing but a table that scrolls by itself is wider than the window.
            assert browser.value("document.documentElement.scrollWidth") == width
            ground = browser.value("getComputedStyle(document.body).backgroundColor")
            assert ground == ("rgb(20, 23, 27)" if dark else "rgb(255, 255, 255)")


def test_an_error_would_be_seen(browser: Page, tmp_path: Path) -> None:
    """So that the test above can fail."""
    page = tmp_path / "bad.html"
    page.write_text("<img src='missing.png'><script>throw new Error('seen')</script>")
    browser.open(page.as_uri())
    assert any("seen" in json.dumps(error) for error in browser.errors())
    assert [Path(found).name for found in browser.requests()] == ["missing.png"]


#: Contrast of each text with what is behind it (WCAG 2.1, 1.4.3 and its definition of luminance).
CONTRAST = """
(() => {
  const parse = text => (text.match(/[0-9.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    const [one, other] = [light(parse(getComputedStyle(element).color)), light(behind(element))];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < 4.5) found.push([walker.currentNode.data.trim(), ratio]);
  }
  return found;
})()
"""


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_can_be_read(browser: Page, address: str, dark: bool) -> None:
    browser.size(390, mobile=True)
    browser.media(dark=dark)
    browser.open(address)
    assert browser.value(CONTRAST) == []
    smallest = "Math.min(...[...document.querySelectorAll('p, li, td, th, dd, dt, span')]"
    size = browser.value(f"{smallest}.map(e => parseFloat(getComputedStyle(e).fontSize)))")
    assert size >= 12


def test_by_keyboard(browser: Page, address: str) -> None:
    """Tab reaches the content, every link, tables that scroll, what unfolds, and the button."""
    browser.size(1280)
    browser.media()
    browser.open(address)
    order: List[str] = []
    for _ in range(60):
        browser.press("Tab", 9)
        order.append(
            browser.value(
                "(e => e.className || e.getAttribute('href') || e.getAttribute('aria-label')"
                " || e.textContent)(document.activeElement)"
            )
        )
        if order[-1] == "Copy":
            break
    assert order[0] == "skip"
    assert "#again" in order and "Times by job" not in order and "The same in words" in order
    visible = browser.value("getComputedStyle(document.activeElement).outlineStyle")
    assert (order[-1], visible) == ("Copy", "solid")
    browser.call("Browser.grantPermissions", permissions=["clipboardReadWrite"])
    browser.press("Enter", 13)
    browser.value("new Promise(done => setTimeout(done, 200))")
    assert browser.value("document.activeElement.textContent") in (
        "Copied",
        "Selected: copy it now",
    )


def test_what_unfolds_unfolds(browser: Page, address: str) -> None:
    browser.open(address)
    words = "[...document.querySelectorAll('details li')].filter(e => e.checkVisibility())"
    assert browser.value(f"{words}.length") == 0
    browser.value("document.querySelector('details summary').focus()")
    browser.press("Enter", 13)
    assert browser.value(f"{words}.map(e => e.textContent)") == ["steps 0 to 12: equal"]


def test_pictures_differ_where_colours_must(browser: Page, address: str) -> None:
    """A strip has the colours of its states: in light, in the dark, and in print without colour."""
    for dark in (False, True):
        browser.size(1280)
        browser.media(dark=dark)
        browser.open(address)
        boxes = browser.value(
            "[...document.querySelectorAll('.strip > svg')].map(s => "
            "(b => [b.x, b.y + scrollY, b.width, b.height])(s.getBoundingClientRect()))"
        )
        picture = np.asarray(Image.open(io.BytesIO(browser.picture())).convert("RGB"))
        x, y, width, height = (int(value) for value in boxes[1])
        middle = y + 3 * height // 4
        first, last = picture[middle, x + width // 4], picture[middle, x + 3 * width // 4]
        assert first[1] > first[0] + 20  # green: equal
        assert last[0] > last[1] + 60  # red: different
        top = picture[y + 1, x + width // 4], picture[y + 1, x + 3 * width // 4]
        assert int(top[0].sum()) != int(top[1].sum())  # higher where it differs


def test_in_print(browser: Page, address: str) -> None:
    """What only a screen needs is left out, and nothing is cut off at the paper's edge."""
    browser.size(794)  # the width of A4 in CSS pixels
    browser.media("print", dark=True)
    browser.open(address)
    hidden = "['nav', '.skip', 'button'].map(s => document.querySelector(s).checkVisibility())"
    assert browser.value(hidden) == [False, False, False]
    assert browser.value("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert browser.value("document.documentElement.scrollWidth") == 794
    printed = browser.print()
    assert printed.startswith(b"%PDF-")
    assert 2 <= printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page ") <= 12
    browser.media()


def test_a_script_of_another_hand_is_refused(browser: Page, address: str, tmp_path: Path) -> None:
    """Even if a text became an element: the policy of the page lets only its own script run."""
    page = Path(address[len("file://") :])
    changed = tmp_path / "changed.html"
    foreign = "<script>document.title = 'taken'</script><img src='http://127.0.0.1:9/x.png'>"
    changed.write_text(page.read_text().replace("</main>", foreign + "</main>"))
    browser.open(changed.as_uri())
    assert browser.value("document.title") != "taken"
    refused = json.dumps(browser.errors())
    assert "script-src" in refused and "img-src" in refused
