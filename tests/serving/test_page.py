"""The page in a real browser: Chromium by Playwright, one browser and one server for all tests."""

import re

import pytest

from tests.chromium import CHROMIUM, MISSING
from tests.serving.bundles import title
from tests.serving.pages import opened, served

if CHROMIUM is None:
    pytest.skip(MISSING, allow_module_level=True)
expect = pytest.importorskip("playwright.sync_api").expect


@pytest.fixture(scope="module")
def address(simulated):
    with served(simulated) as address:
        yield address


@pytest.fixture
def page(browser, address):
    with opened(browser, address) as page:
        expect(page.locator("#served")).to_have_text("prorl on tiny, 40 items")
        yield page


def choose(page, field, text, title):
    """Type `text` and take the suggestion `title`."""
    page.fill(f"#{field}", text)
    page.locator(f"#{field}-list [role=option]", has_text=title).first.click()


def ask(page, target="Alien (1979)", history=("Heat (1995)", "Blade Runner (1982)"), length="4"):
    choose(page, "target", target, target)
    for item in history:
        choose(page, "history", item, item)
    page.select_option("#length", length)
    page.click("#go")
    expect(page.locator(".lane.first .planned")).to_have_count(int(length))


def titles(page, lane="first", kind="step"):
    return page.locator(f".lane.{lane} .{kind} h3").all_text_contents()


def test_a_title_is_searched_for_and_a_path_is_shown_with_reasons_and_charts(page):
    page.fill("#target", "alie")
    options = page.locator("#target-list [role=option]")
    expect(options.first).to_have_text("Alien (1979)Comedy")
    page.keyboard.press("Escape")
    ask(page)
    first = page.locator(".lane.first .step").first
    assert re.search("shares .* with Blade Runner \\(1982\\)", first.text_content())
    assert re.search("(90|30)% likely to be taken", first.text_content())
    expect(page.locator("#status")).to_have_text("A path of 4 items to Alien (1979).")
    charts = page.locator("#chart svg")
    assert charts.nth(0).get_attribute("aria-label") == (
        "Interest in the target. Policy, acceptance 1: from 0.10% to 1.6%"
    )
    assert charts.nth(1).get_attribute("aria-label").endswith("from 40 to 3")
    expect(charts.nth(0).locator("circle")).to_have_count(5)
    page.click("#chart summary")
    assert page.locator("#chart tbody tr").last.text_content() == "41.6%3"


def test_a_refused_card_is_gone_and_an_accepted_one_is_gone_on_from(page):
    ask(page)
    before = titles(page)
    page.get_by_role("button", name=f"Refuse {before[1]}").click()
    expect(page.locator(".lane.first .refused")).to_have_text(f"Refused: {before[1]}.")
    again = titles(page)
    assert len(again) == 4
    assert before[1] not in again
    page.get_by_role("button", name=f"Accept to here: {again[1]}").click()
    expect(page.locator(".lane.first .taken")).to_have_count(2)
    assert titles(page, kind="taken") == again[:2]
    rest = titles(page, kind="planned")
    assert len(rest) == 2
    assert before[1] not in rest
    expect(page.locator("#chart svg").first.locator("circle.taken")).to_have_count(2)
    expect(page.get_by_role("button", name=f"Accept: {rest[0]}")).to_be_focused()
    page.get_by_role("button", name=f"Accept to here: {rest[1]}").click()
    expect(page.locator(".lane.first .over")).to_have_text(
        "Nothing is left of the path: all of it was accepted."
    )
    expect(page.locator("#chart tbody tr")).to_have_count(5)


def test_a_user_may_leave(page):
    ask(page)
    page.get_by_role("button", name="The user leaves here").click()
    expect(page.locator(".lane.first .over")).to_have_text("Here the user left.")
    expect(page.locator(".lane.first .planned")).to_have_count(0)


def test_two_guides_stand_side_by_side_and_are_replanned_apart(page):
    page.select_option("#beside", "other")
    expect(page.locator("#other-told")).to_have_text("0")
    ask(page)
    expect(page.locator(".lane.second h2")).to_have_text("Policy, acceptance 0")
    expect(page.locator("#chart .legend li")).to_have_text(["Policy, acceptance 1", "Policy, acceptance 0"])
    left, right = (page.locator(f".lane.{kind}").bounding_box() for kind in ("first", "second"))
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] < right["x"]
    first = titles(page)
    page.locator(".lane.second .refuse").first.click()
    expect(page.locator(".lane.second .refused")).to_have_count(1)
    assert titles(page) == first
    page.select_option("#beside", "search")
    page.focus("#acceptance")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#acceptance-told")).to_have_text("0.5")
    page.click("#go")
    expect(page.locator(".lane h2")).to_have_text(["Policy, acceptance 0.5", "Search"])
    assert titles(page, "second") == ["Aliens (1986)", "The Piano (1993)", title(6), title(7)]


def test_an_unknown_title_gets_suggestions_in_words(browser, address):
    with opened(browser, address, errors=["422"]) as page:
        page.fill("#history", "Heet (1995)")
        page.keyboard.press("Enter")
        page.fill("#target", "Alein")
        page.click("#go")
        problem = page.get_by_role("alert")
        expect(problem).to_contain_text(
            "'Heet (1995)' is no raw id and no title of the 40 items. Did you mean:"
        )
        expect(page.locator("#chosen .wrong")).to_have_text("Heet (1995)")
        problem.get_by_role("button", name="Heat (1995)").click()
        page.click("#go")
        expect(problem).to_contain_text("'Alein' is no raw id")
        assert page.locator("#target").get_attribute("aria-invalid") == "true"
        problem.get_by_role("button", name="Alien (1979)").click()
        expect(problem).to_be_hidden()
        page.click("#go")
        expect(page.locator(".lane.first .target strong")).to_have_text("Alien (1979)")


def test_what_is_missing_is_said_before_anything_is_asked(page):
    page.click("#go")
    expect(page.get_by_role("alert")).to_have_text("Choose a target first.")
    expect(page.locator("#target")).to_be_focused()
    page.keyboard.type("zzzzzz")
    expect(page.locator("#target-box .note")).to_have_text("Nothing is called “zzzzzz”, or nearly so.")
    page.click("#go")
    expect(page.get_by_role("alert")).to_have_text("Add at least one item to the history.")
    expect(page.locator("#history")).to_be_focused()


def test_everything_works_by_the_keyboard_alone(page):
    press = page.keyboard.press
    press("Tab")
    expect(page.get_by_text("Skip to the path")).to_be_focused()
    press("Tab")
    expect(page.locator("#theme")).to_be_focused()
    press("Tab")
    target = page.get_by_role("combobox", name="Target")
    expect(target).to_be_focused()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.type("film 1")
    expect(target).to_have_attribute("aria-expanded", "true")
    press("ArrowDown")
    press("ArrowDown")
    press("ArrowUp")
    active = target.get_attribute("aria-activedescendant")
    assert page.locator(f"#{active}").get_attribute("aria-selected") == "true"
    press("Enter")
    expect(target).to_have_attribute("aria-expanded", "false")
    assert target.input_value().startswith("Film 1")
    press("Tab")
    expect(page.get_by_role("combobox", name="History")).to_be_focused()
    page.keyboard.type("heat")
    expect(page.locator("#history-list")).to_be_visible()
    press("ArrowDown")
    press("Enter")
    expect(page.locator("#chosen li")).to_have_text(["Heat (1995)"])
    press("Shift+Tab")
    expect(page.get_by_role("button", name="Take Heat (1995) out")).to_be_focused()
    for _ in range(9):
        press("Tab")
        if page.evaluate("document.activeElement.id") == "go":
            break
    press("Enter")
    expect(page.locator("#path")).to_be_focused()
    shown = titles(page)
    press("Tab")
    expect(page.get_by_role("button", name=f"Accept: {shown[0]}")).to_be_focused()
    press("Tab")
    press("Enter")
    expect(page.locator(".lane.first .refused")).to_have_text(f"Refused: {shown[0]}.")
    expect(page.locator(".lane.first .planned .accept").first).to_be_focused()
    press("Space")
    expect(page.locator(".lane.first .taken")).to_have_count(1)
    expect(page.locator("#status")).to_contain_text("accepted.")


def test_a_list_is_pasted_and_taken_apart(page):
    page.click(".setup summary")
    page.fill("#paste", "m5\n\n  Blade Runner (1982) \n")
    page.click("#take")
    expect(page.locator("#chosen li")).to_have_text(["m5", "Blade Runner (1982)"])
    page.get_by_role("button", name="Take m5 out").click()
    expect(page.get_by_role("button", name="Take Blade Runner (1982) out")).to_be_focused()
    page.click("#clear")
    expect(page.locator("#chosen li")).to_have_count(0)
    page.click("#example")
    expect(page.locator("#chosen li")).to_have_count(5)
    page.click("#go")
    expect(page.locator(".lane.first .planned").first).to_be_visible()


def test_titles_are_text_whatever_they_hold(page):
    script, image, long = title(6), title(7), title(9)
    page.fill("#target", "script")
    expect(page.locator("#target-list .title").first).to_have_text(script)
    page.keyboard.press("Escape")
    page.select_option("#beside", "search")
    ask(page, target=long, history=(script, image), length="6")
    assert script in page.locator("#chosen").text_content()
    page.get_by_role("button", name=f"Refuse {titles(page, 'second')[0]}").first.click()
    expect(page.locator(".lane.second .refused, .lane.first .refused").first).to_be_visible()
    assert page.evaluate("document.querySelectorAll('main script, main img').length") == 0
    assert page.title() == "ProRL: a path to a target"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_no_script_within_the_page_runs(browser, address):
    with opened(browser, address, errors=["Content Security Policy", "Content-Security-Policy"]) as page:
        page.evaluate(
            "() => { const s = document.createElement('script');"
            " s.textContent = 'document.title = \"owned\"'; document.body.append(s); }"
        )
        assert page.title() == "ProRL: a path to a target"


def test_a_narrow_screen_shows_all_of_it_without_scrolling_sideways(browser, address):
    with opened(browser, address, viewport={"width": 320, "height": 640}, has_touch=True) as page:
        page.select_option("#beside", "other")
        ask(page, target=title(9), length="6")
        assert page.evaluate("document.documentElement.scrollWidth") == 320
        first, second = (page.locator(f".lane.{kind}").bounding_box() for kind in ("first", "second"))
        assert second["y"] > first["y"] + first["height"], "one below the other"
        for button in page.locator(".actions button").all()[:4]:
            assert button.bounding_box()["height"] >= 44
            assert button.bounding_box()["x"] + button.bounding_box()["width"] <= 320


def luminance(colour):
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(page, selector, behind):
    """The contrast of the text of `selector` with the background of `behind` (WCAG 2.2)."""
    colours = page.evaluate(
        "([text, behind]) => [getComputedStyle(document.querySelector(text)).color,"
        " getComputedStyle(document.querySelector(behind)).backgroundColor]",
        [selector, behind],
    )
    low, high = sorted(luminance(colour) for colour in colours)
    return (high + 0.05) / (low + 0.05)


READ = [
    ("body", "body"),
    ("#served", "body"),
    (".hint", ".setup"),
    (".lane.first h2", "body"),
    (".lane.second h2", "body"),
    (".why", ".card"),
    (".lane.first .chips .shared", ".lane.first .chips .shared"),
    (".lane.second .chips .shared", ".lane.second .chips .shared"),
    (".lane.second .accept", ".lane.second .card"),
    (".refuse", ".card"),
    ("#go", "#go"),
    (".refused", "body"),
]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_dark_and_light_are_both_easy_to_read_and_can_be_chosen(browser, address, scheme):
    with opened(browser, address, color_scheme=scheme) as page:
        page.select_option("#beside", "other")
        ask(page)
        page.locator(".lane.first .refuse").first.click()
        expect(page.locator(".refused")).to_have_count(1)
        page.mouse.move(0, 0)
        bright = luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert bright > 0.8 if scheme == "light" else bright < 0.05
        for text, behind in READ:
            assert contrast(page, text, behind) >= 4.5, (text, behind)
        page.click("#theme")
        other = luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert (other > 0.8) != (scheme == "light")
        for text, behind in READ:
            assert contrast(page, text, behind) >= 4.5, (text, behind)
        page.reload()
        expect(page.locator("html")).to_have_attribute(
            "data-theme", {"light": "dark", "dark": "light"}[scheme]
        )


def test_a_token_is_asked_for_once_and_without_a_simulator_the_page_says_so(browser, policy):
    token = "a token of many characters"
    with (
        served(policy, token=token) as address,
        opened(browser, address, errors=["401"]) as page,
    ):
        expect(page.get_by_role("dialog")).to_be_visible()
        page.fill("#token", "a wrong one")
        page.keyboard.press("Enter")
        expect(page.locator("#token-wrong")).to_be_visible()
        page.fill("#token", token)
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_be_hidden()
        ask(page)
        expect(page.locator("#chart-body")).to_have_text(
            "Interest and rank are not known: this policy was released without a simulator, which judging "
            "and searching need."
        )
        expect(page.locator("#beside option")).to_have_text(["nothing", "another acceptance"])


def test_a_service_that_is_gone_is_told_in_words(browser, policy):
    with served(policy) as address:
        context = browser.new_context()
        page = context.new_page()
        page.goto(address)
        expect(page.locator("#served")).to_contain_text("tiny")
        ask(page)
    page.click("#go")
    expect(page.get_by_role("alert")).to_have_text("The service does not answer. Is it still running?")
    context.close()
