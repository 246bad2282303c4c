"""The report and the page of `dvc plots` in Chromium, without a network; skipped where there is none."""

import json
import subprocess
import sys

import pytest

from prorl.reports.page import render
from tests.chromium import CHROMIUM, MISSING
from tests.reports.written_inputs import BENCHMARK, COMMANDS, EXAMPLES
from tools import plots_page

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=MISSING)


@pytest.fixture(scope="module")
def report(tmp_path_factory, inputs):
    path = tmp_path_factory.mktemp("report") / "index.html"
    path.write_text(render(inputs, EXAMPLES, BENCHMARK, 0, COMMANDS), encoding="utf-8")
    return path


def opened(browser, path, **settings):
    """The page at `path` without a network, and what it complains of or asks others for."""
    page = browser.new_context(offline=True, **settings).new_page()
    found = []
    page.on("console", lambda message: found.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("request", lambda request: found.append(request.url) if request.url[:5] != "file:" else None)
    page.goto(path.as_uri())
    return page, found


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
def test_plots_become_interactive_and_nothing_is_wider_than_the_screen(browser, report, width, scheme):
    page, found = opened(browser, report, viewport={"width": width, "height": 800}, color_scheme=scheme)
    first = page.locator("figure").first
    first.scroll_into_view_if_needed()
    page.wait_for_selector("figure[data-drawn]")
    assert first.locator("svg").count() == 1, "the picture gives way"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    drawn = first.locator("svg").bounding_box()
    assert drawn["width"] <= width
    shown = first.locator("svg path[aria-roledescription='point']").first.bounding_box()
    page.mouse.move(shown["x"] + shown["width"] / 2, shown["y"] + shown["height"] / 2)
    page.wait_for_selector("#vg-tooltip-element.visible")
    assert "CTR" in page.inner_text("#vg-tooltip-element")
    assert found == []


def test_without_scripts_every_plot_is_there_and_print_shows_what_is_folded(browser, report):
    page, found = opened(browser, report, java_script_enabled=False)
    page.emulate_media(media="print")
    assert page.locator("figure").count() == page.locator("figure > svg").count()
    folded = page.locator("details table").first.bounding_box()
    assert folded["height"] > 0
    assert page.locator("nav").bounding_box() is None
    assert found == []


def test_the_page_prints(report, tmp_path):
    printed = tmp_path / "report.pdf"
    subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--print-to-pdf={printed}",
            report.as_uri(),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    content = printed.read_bytes()
    assert content.startswith(b"%PDF")
    assert content.count(b"/Type /Page\n") + content.count(b"/Type /Page ") >= 3


def test_the_page_of_dvc_draws_without_a_network(browser, tmp_path):
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet"], cwd=tmp_path, check=True)
    plots_page.main(tmp_path)
    (tmp_path / "points.json").write_text(json.dumps([{"a": 1, "b": 2}, {"a": 2, "b": 3}]), encoding="utf-8")
    (tmp_path / "dvc.yaml").write_text("plots:\n  - points.json:\n      x: a\n      y: b\n", encoding="utf-8")
    subprocess.run([sys.executable, "-m", "dvc", "plots", "show", "--quiet"], cwd=tmp_path, check=True)
    path = tmp_path / "dvc_plots" / "index.html"
    text = path.read_text(encoding="utf-8")
    assert "cdn.jsdelivr.net" not in text
    page, found = opened(browser, path)
    page.wait_for_selector(".vega-embed svg.marks")
    assert page.locator(".vega-embed svg.marks").bounding_box()["width"] > 100
    assert found == []
