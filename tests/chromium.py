"""The browser of tests that look at pages: the program that PRORL_CHROMIUM names, else one that is found."""

import os
import shutil

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = os.environ.get("PRORL_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
MISSING = "no Chromium: `apt install chromium`, or PRORL_CHROMIUM names one"


@pytest.fixture(scope="module")
def browser():
    """Chromium, for modules that are skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()
