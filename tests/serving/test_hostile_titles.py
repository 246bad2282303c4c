"""A catalogue whose titles and attributes are scripts: every way they reach the page, in Chromium."""

import json

import pytest

from prorl.bundle.folder import read_bundle
from tests.chromium import CHROMIUM, MISSING
from tests.serving.bundles import WithStandIn, write_tiny_bundle
from tests.serving.pages import opened, served

if CHROMIUM is None:
    pytest.skip(MISSING, allow_module_level=True)
expect = pytest.importorskip("playwright.sync_api").expect

OWN = "window.owned=1;document.title='owned'"
PAYLOADS = (
    f"<script>{OWN}</script>",
    f'<img src=x onerror="{OWN}">',
    f'"><svg onload="{OWN}">',
    f"' autofocus onfocus='{OWN}",
    f"</title></p></button><iframe srcdoc='<script>parent.{OWN}</script>'>",
)
ATTRIBUTES = tuple(f"{payload} as an attribute" for payload in PAYLOADS[:4])


def hostile(item):
    return f"{PAYLOADS[item % len(PAYLOADS)]} {item}"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    bundle = write_tiny_bundle(tmp_path_factory.mktemp("hostile"), title_of=hostile, attributes=ATTRIBUTES)
    with served(WithStandIn(read_bundle(bundle), "cpu")) as address:
        yield address


def check_nothing_ran(page):
    assert page.evaluate("window.owned") is None
    assert page.title() == "ProRL: a path to a target"
    made = "script, img, iframe, body style, [srcdoc], [onload], [onerror], [onfocus], [autofocus]"
    assert page.evaluate(f"document.querySelectorAll({json.dumps(made)}).length") == 1, (
        "the page's own script"
    )


def choose(page, field, item):
    """Type the beginning of a hostile title and take its suggestion by the keyboard."""
    page.fill(f"#{field}", hostile(item)[:200])
    suggested = page.locator(f"#{field}-list [role=option] .title").get_by_text(hostile(item), exact=True)
    expect(suggested).to_have_count(1)
    check_nothing_ran(page)
    suggested.click()


def path_of(page, lane):
    """The titles of a lane's planned cards, each of them one of the catalogue's, to the letter."""
    found = page.locator(f".lane.{lane} .planned h3").all_text_contents()
    assert set(found) <= {hostile(item) for item in range(1, 41)}
    return found


def test_no_way_to_the_page_reads_a_title_as_html(browser, address):
    with opened(browser, address, errors=["422", "409"]) as page:
        # The field of the target, and its suggestions with attributes.
        choose(page, "target", 10)
        assert page.input_value("#target") == hostile(10)
        page.fill("#target", "m10")
        attributes = page.locator("#target-list [role=option] .quiet").first
        assert all(part in ATTRIBUTES for part in attributes.text_content().split(" · "))
        page.keyboard.press("Escape")
        page.fill("#target", "")
        choose(page, "target", 10)
        # The history: chosen, typed and pasted; what its buttons are called; what is said of it.
        choose(page, "history", 11)
        expect(page.locator("#status")).to_have_text(f"{hostile(11)} is in the history.")
        page.click(".setup summary")
        page.fill("#paste", "\n".join(hostile(item) for item in (12, 13)))
        page.click("#take")
        expect(page.locator("#chosen .title")).to_have_text([hostile(item) for item in (11, 12, 13)])
        page.get_by_role("button", name=f"Take {hostile(12)} out", exact=True).click()
        check_nothing_ran(page)
        # Two paths: cards, chips, reasons, both ends, the chart's dots, what is said.
        page.select_option("#beside", "search")
        page.select_option("#length", "4")
        page.click("#go")
        expect(page.locator(".lane .planned")).to_have_count(8)
        check_nothing_ran(page)
        planned = path_of(page, "first")
        expect(page.locator("#status")).to_have_text(f"A path of 4 items to {hostile(10)}.")
        expect(page.locator(".lane.first .end strong")).to_have_text([hostile(13), hostile(10)])
        for chip in page.locator(".lane.first .chips li").all_text_contents():
            assert chip in ATTRIBUTES
        reasons = page.locator(".lane.first .planned .why").all_text_contents()
        assert all(
            reason.endswith(f"with {before}")
            for reason, before in zip(reasons, [hostile(13), *planned], strict=False)
        )
        dots = page.locator("#chart circle title").all_text_contents()
        assert any(f"after {planned[0]}: " in dot for dot in dots)
        # Refused, accepted, and what is said of each.
        page.get_by_role("button", name=f"Refuse {planned[1]}", exact=True).first.click()
        expect(page.locator(".lane.first .refused")).to_have_text(f"Refused: {planned[1]}.")
        expect(page.locator("#status")).to_have_text(f"{planned[1]} refused.")
        again = path_of(page, "first")
        page.locator(".lane.first").get_by_role("button", name=f"Accept: {again[0]}", exact=True).click()
        expect(page.locator(".lane.first .taken h3")).to_have_text([again[0]])
        check_nothing_ran(page)
        # A problem within a lane.
        told = {"detail": PAYLOADS[0], "field": None, "suggestions": []}
        page.route("**/feedback", lambda route: route.fulfill(status=409, json=told))
        page.locator(".lane.first .refuse").first.click()
        expect(page.locator(".lane.first .problem")).to_have_text(PAYLOADS[0])
        check_nothing_ran(page)


def test_no_error_reads_a_title_as_html(browser, address):
    with opened(browser, address, errors=["422"]) as page:
        nearly = hostile(20)[:-1] + "x"
        page.fill("#history", nearly)
        page.keyboard.press("Enter")
        page.fill("#target", "<script>zzzzqqq")
        page.click("#go")
        problem = page.get_by_role("alert")
        expect(problem).to_contain_text(f"{nearly!r} is no raw id and no title of the 40 items")
        check_nothing_ran(page)
        suggestions = problem.get_by_role("button")
        found = suggestions.all_text_contents()
        assert found
        assert set(found) <= {hostile(item) for item in range(1, 41)}
        suggestions.first.click()
        expect(page.locator("#chosen .title")).to_have_text([found[0]])
        page.fill("#target", "<b>ÿÿÿÿ</b>")
        expect(page.locator("#target-box .note")).to_have_text(
            "Nothing is called “<b>ÿÿÿÿ</b>”, or nearly so."
        )
        page.fill("#target", f"zzzqqq{PAYLOADS[1]}")
        page.click("#go")
        expect(problem).to_contain_text("zzzqqq<img src=x")
        check_nothing_ran(page)
