"""The browser of tests that look at pages: the program that PRORL_CHROMIUM names, else one that is found."""

import os
import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = os.environ.get("PRORL_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
MISSING = "no Chromium: `apt install chromium`, or PRORL_CHROMIUM names one"
