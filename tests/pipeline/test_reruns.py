"""A change of code or of a file outside the repository runs exactly the stages again that it touches."""

import json
import shutil
import sys
import zipfile

import pytest

from prorl.tables import ITEMS, SEMANTIC_IDS, read_table
from tests.pipeline.clones import ALWAYS, DATASET, Clone
from tools.stage_dependencies import ROOT


def stages(*names: str) -> list[str]:
    """The one that always runs, and `names`, as DVC calls them."""
    return [ALWAYS, *(f"{name}@{DATASET}" for name in names)]


def edit(clone: Clone, path: str, old: str, new: str) -> None:
    """Replace the one `old` in a file of the clone."""
    text = (clone.root / path).read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{path}: {old!r}"
    (clone.root / path).write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
def clone(pipeline):
    """A clone in which every result is there and nothing has to run, and is again after the test."""
    with pipeline.colleague.changed():
        yield pipeline.colleague


def test_a_new_setting_of_finetune_runs_finetune_and_what_tells_settings_where_it_changes_nothing(clone):
    edit(
        clone,
        "prorl/config/finetune.py",
        "    gamma: float",
        '    extra: int = Field(description="A new one")\n    gamma: float',
    )
    clone.set(finetune={"extra": 1})
    clone.run(sys.executable, "-m", "tools.stage_dependencies", "--write")
    assert "finetune.extra" in (clone.root / "dvc.yaml").read_text(encoding="utf-8")
    assert clone.repro() == stages("finetune", "release")


def test_another_bound_of_a_setting_runs_nothing(clone):
    edit(
        clone,
        "prorl/config/finetune.py",
        "n_rollouts: int = Field(ge=2,",
        "n_rollouts: int = Field(ge=1,",
    )
    assert clone.repro() == stages()


def test_a_docstring_of_the_report_runs_the_report_alone(clone):
    (clone.root / "prorl/reports/tables.py").open("a", encoding="utf-8").write('\n"""The end."""\n')
    assert clone.repro() == stages("report")


def test_a_new_guide_runs_the_stages_of_guides_evaluation_and_the_report_alone(clone):
    shutil.copy(ROOT / "tests/guides/outside.py", clone.root / "prorl/guides/own.py")
    with open(clone.root / "prorl/guides/registry.py", "a", encoding="utf-8") as registry:
        registry.write("\nfrom prorl.guides.own import ONE_ITEM\n\nGUIDES['own'] = ONE_ITEM\n")
    clone.set(guides=["search", "own"], guide={"own": {"item": 3, "n": 2}})
    clone.run(sys.executable, "-m", "tools.stage_dependencies", "--write")
    assert "prorl/guides/own.py" in (clone.root / "dvc.yaml").read_text(encoding="utf-8")
    always, *guides, evaluate, gate, release, report = clone.repro()
    assert [always, evaluate, gate, release, report] == stages("evaluate", "gate", "release", "report")
    assert sorted(guides) == [f"guide@{DATASET}-own", f"guide@{DATASET}-search"]
    assert "own" in clone.read(f"reports/{DATASET}/evaluation.json")


def test_another_setting_of_a_guide_runs_that_guide_evaluation_and_the_report(clone):
    clone.set(guide={"search": {"n_candidates": 6}})
    assert clone.repro() == [
        *(ALWAYS, f"guide@{DATASET}-search"),
        *stages("evaluate", "gate", "release", "report")[1:],
    ]
    settings = clone.read(f"models/guides/{DATASET}/search/guide.json")["settings"]
    assert settings["n_candidates"] == 6


def test_an_archive_edited_in_place_is_fetched_again_and_an_absent_one_is_not(clone, tmp_path):
    archive = tmp_path / "own.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        for path in sorted((clone.root / "data/raw" / DATASET).glob("ml-100k.*")):
            zipped.write(path, path.name)
    clone.set(fetch={"archive": str(archive)})
    assert clone.repro() == stages("fetch", "prepare", "release"), "the same rows from another place"
    assert clone.repro() == stages()
    with zipfile.ZipFile(archive, "a") as zipped:
        zipped.writestr("README", "mended")
    assert clone.repro() == stages("fetch", "prepare")
    archive.unlink()
    done = clone.run("dvc", "repro")
    assert f"{archive} is absent; its recorded checksum stays" in done.stderr
    assert done.stdout.count("Running stage") == 1


def test_semantic_ids_edited_in_place_are_imported_again(clone, tmp_path):
    codes = tmp_path / "codes.json"
    raw_ids = read_table(clone.root / f"data/prepared/{DATASET}/items.parquet", ITEMS)["raw_id"].to_pylist()
    table = read_table(clone.root / f"data/semantic_ids/{DATASET}/semantic_ids.parquet", SEMANTIC_IDS)
    codes_of = dict(zip(raw_ids, table["codes"].to_pylist(), strict=True))
    codes.write_text(json.dumps(codes_of), encoding="utf-8")
    clone.set(quantize={"import": str(codes)})
    assert clone.repro(f"quantize@{DATASET}") == stages("quantize")
    assert clone.repro(f"quantize@{DATASET}") == stages()
    first, second = raw_ids[:2]
    codes_of[first], codes_of[second] = codes_of[second], codes_of[first]
    codes.write_text(json.dumps(codes_of), encoding="utf-8")
    assert clone.repro() == stages(
        *("quantize", "pretrain", "finetune", "evaluate", "gate", "release", "report")
    )
