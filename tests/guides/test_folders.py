"""Folders of guides that are not listed any more."""

from prorl.guides.folders import left_behind, unlisted_guides
from prorl.layout import Layout
from tests.tiny_models import PARAMS


def test_a_folder_of_a_guide_that_is_not_listed_any_more_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert list(left_behind(PARAMS)) == []
    folder = Layout(PARAMS.datasets[0]).guides
    for name in (PARAMS.guides[0], "gone", ".half.partial"):
        (tmp_path / folder / name).mkdir(parents=True)
    (told,) = left_behind(PARAMS)
    assert told.startswith(f"{folder}/gone: a guide that `guides` of ")
    assert told.endswith(f" does not name; remove it: rm -r {folder}/gone")
    assert unlisted_guides(tmp_path, Layout("other"), []) == []
