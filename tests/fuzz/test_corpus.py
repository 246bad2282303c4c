"""Every target reads its good files and its corpus, without atheris, and finds what it is there to find."""

import re
import subprocess
import sys

import pytest

from prorl.errors import DataError
from tests.fuzz import __main__ as command
from tests.fuzz.targets import CORPUS, TARGETS, Target
from tools.stage_dependencies import ROOT

LARGEST_CORPUS = 64 * 1024  # bytes, all files together


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_reads_its_good_files_and_its_corpus(name, tmp_path):
    files, made = tmp_path / "files", tmp_path / "made"
    files.mkdir()
    made.mkdir()
    target = TARGETS[name](made)
    target.prepare(files)
    target.read(files)
    inputs = target.inputs(CORPUS / name)
    assert len(inputs) > len(target.files)
    for data in inputs.values():
        target.run(files, data)
    target.read(files)  # they are good again
    target.write(files, next(iter(target.files)), b"\x00\xff\n")
    with pytest.raises(ValueError, match=re.escape(str(files))):
        target.read(files)


def test_the_corpus_is_small_and_all_of_it_is_tried(tmp_path):
    paths = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in paths) < LARGEST_CORPUS
    tried = 0
    for name, make in TARGETS.items():
        (tmp_path / name).mkdir()
        target = make(tmp_path / name)
        tried += len(target.inputs(CORPUS / name)) - len(target.files)
    assert tried == len(paths)


def fails_on(error):
    def read(folder):
        if (folder / "b").read_bytes() == b"bad":
            raise error

    return Target({"a": b"good", "b": b"good"}, read)


def test_an_error_that_is_not_declared_comes_through(tmp_path):
    target = fails_on(TypeError("x"))
    target.prepare(tmp_path)
    target.run(tmp_path, b"\x01good")
    target.run(tmp_path, b"\x00bad")
    with pytest.raises(TypeError):
        target.run(tmp_path, b"\x01bad")
    assert (tmp_path / "b").read_bytes() == b"good"
    target.run(tmp_path, b"")


@pytest.mark.parametrize(("message", "is_told"), [("nothing named", False), ("{}/b: got", True)])
def test_a_declared_error_must_name_the_file(tmp_path, message, is_told):
    target = fails_on(DataError(message.format(tmp_path)))
    target.prepare(tmp_path)
    if is_told:
        target.run(tmp_path, b"\x01bad")
    else:
        with pytest.raises(AssertionError):
            target.run(tmp_path, b"\x01bad")


DRIVER = """
import sys
print("stat::number_of_executed_units: 7\\nstat::peak_rss_mb: 9", file=sys.stderr)
name, root = sys.argv[1:3]
if {found}:
    open(f"{{root}}/found-crash", "wb").write(b"\\x01bad")
    sys.exit(77)
"""


@pytest.mark.parametrize("found", [True, False])
def test_what_is_found_is_kept_under_the_name_of_its_file(tmp_path, monkeypatch, found):
    """A driver stands in for atheris."""
    (tmp_path / "driver.py").write_text(DRIVER.format(found=found))
    monkeypatch.setattr(command, "KEPT", tmp_path / "kept")
    run = subprocess.run

    def instead(arguments, **options):
        return run([sys.executable, str(tmp_path / "driver.py"), *arguments[3:]], **options)

    monkeypatch.setattr(command.subprocess, "run", instead)
    line, failed = command.fuzz("gzip", 1, 64, 1)
    assert re.search(r"gzip +7 inputs +\d+ s +9 MiB", line)
    assert failed == found
    kept = [path.relative_to(tmp_path / "kept") for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    assert [str(path.parent) for path in kept] == (["gzip/literals.gz"] if found else [])
    assert all((tmp_path / "kept" / path).read_bytes() == b"bad" for path in kept)


def test_the_command_says_what_is_missing_and_which_targets_there_are(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["fuzz", "nothing"])
    with pytest.raises(SystemExit):
        command.main()
    assert f"no target 'nothing'; there are: {', '.join(TARGETS)}" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["fuzz"])
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SystemExit):
        command.main()
    assert "atheris is not installed; `make fuzz` installs it" in capsys.readouterr().err


def test_what_is_found_stays_out_of_git():
    ignored = subprocess.run(["git", "check-ignore", str(command.KEPT / "x" / "y")], cwd=ROOT, check=False)
    assert ignored.returncode == 0
