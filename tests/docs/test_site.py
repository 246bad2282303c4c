"""The site of the documentation is built without a warning, from every page, and needs no network."""

import importlib.util
import os
import re
import subprocess
import sys

import pytest

from tests.docs.commands import PAGES
from tools.stage_dependencies import ROOT

NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "source": ["# Tour\n", "Look:"]},
        {"cell_type": "code", "source": ["1 + 1"], "outputs": [{"data": {"text/plain": ["2"]}}]},
        {"cell_type": "code", "source": "print(3)", "outputs": [{"text": "3\n"}]},
        {"cell_type": "code", "source": [], "outputs": [{"data": {"image/png": "x"}}]},
    ]
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "no_proxy": "", "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_built(site):
    pages = [page.relative_to(ROOT / "docs") for page in PAGES if page.is_relative_to(ROOT / "docs")]
    assert [page for page in pages if not (site / page).with_suffix(".html").is_file()] == []


def test_no_page_loads_anything_from_elsewhere(site):
    loads = re.compile(
        r"""(?:<script[^>]*\ssrc|<img[^>]*\ssrc|<link(?![^>]*rel="(?:index|search|next|prev)")[^>]*\shref)="(?:https?:)?//"""
    )
    for page in site.rglob("*.html"):
        assert not loads.search(page.read_text(encoding="utf-8")), page


def test_docstrings_are_on_the_pages_of_the_api(site):
    text = (site / "api/metrics.html").read_text(encoding="utf-8")
    assert 'id="prorl.metrics.path_metrics.increment_of_interest"' in text
    assert "log P(target) after the path minus before it" in text


def test_links_to_files_elsewhere_lead_to_the_files(site):
    text = (site / "results.html").read_text(encoding="utf-8")
    [link] = re.findall(r'href="(_downloads/[^"]*/estimators\.md)"', text)
    assert (site / link).read_bytes() == (ROOT / "reports/experiments/ml-100k/estimators.md").read_bytes()


def test_a_notebook_is_a_page_of_its_cells():
    spec = importlib.util.spec_from_file_location("conf", ROOT / "docs/conf.py")
    assert spec
    assert spec.loader
    conf = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conf)
    assert [part for part in conf.as_markdown(NOTEBOOK).split("\n\n") if part] == [
        "# Tour\nLook:",
        "````python\n1 + 1\n````",
        "````text\n2\n````",
        "````python\nprint(3)\n````",
        "````text\n3\n````",
    ]
