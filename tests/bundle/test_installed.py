"""A released policy where little is installed: torch, safetensors, pyarrow and pydantic."""

import os
import shutil
import subprocess
import sys

import pytest

from tools.stage_dependencies import ROOT

REFUSING = """
import sys

class Refusing:
    def find_spec(self, name, path, target=None):
        package = name.partition(".")[0]
        if package not in {allowed!r} | sys.stdlib_module_names and package[0] != "_":
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Refusing())
"""
GUIDE = """
import prorl
from prorl.config.section import ConfigError

policy = prorl.load_policy({folder!r}, "cpu")
histories = [["Title 1", "r2"], ["r3"]]
((first, *_), _) = policy.guide(histories, "title 20", n=2, avoid=["Crime"], length=3)
(path,) = policy.guide(["r1"], "r20")
assert len(first.items) == 3 and path.items and path.reasons and 0 < first.propensities[0] < 1
try:
    policy.judged([path])
except ConfigError as error:
    print(error)
print(isinstance(path, prorl.GuidedPath), sorted(name for name in dir(prorl) if name[0].isalpha()))
"""
# What may be imported, and what these four require themselves.
ALLOWED = {
    *("prorl", "torch", "safetensors", "pyarrow", "pydantic"),
    *("functorch", "torchgen", "filelock", "fsspec", "jinja2", "markupsafe", "mpmath", "networkx", "sympy"),
    *("annotated_types", "pydantic_core", "typing_extensions", "typing_inspection"),
}
SAID = 'judging paths needs the extra "pipeline": pip install "prorl[pipeline]"'


def guided(python, code, **options):
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_guides_without_any_other_package(released):
    printed = guided(
        sys.executable, REFUSING.format(allowed=ALLOWED) + GUIDE.format(folder=str(released)), cwd=ROOT
    )
    said, offered = printed.splitlines()
    assert said == SAID
    assert offered.startswith("True ")
    for name in ("load_policy", "ReleasedPolicy", "GuidedPath", "GuideRequest", "Item"):
        assert f"'{name}'" in offered


def test_prorl_alone_imports_nothing_heavy():
    code = "import sys, prorl; print('torch' in sys.modules, 'pydantic' in sys.modules)"
    assert guided(sys.executable, code, cwd=ROOT) == "False False\n"


def test_what_is_asked_of_prorl_and_not_there_is_an_attribute_error():
    import prorl

    with pytest.raises(AttributeError, match="module 'prorl' has no attribute 'load_polcy'"):
        _ = prorl.load_polcy


@pytest.mark.slow
def test_the_wheel_guides_in_an_environment_of_its_own(released, tmp_path):
    """Built, installed beside the four packages that it needs, and run outside of the repository."""
    source, python = tmp_path / "source", tmp_path / "venv/bin/python"
    shutil.copytree(ROOT / "prorl", source / "prorl", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    # Else the repository would be found, and pip would take it for the installed package.
    apart = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*command):
        done = subprocess.run(command, env=apart, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    run(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, source)
    (wheel,) = tmp_path.glob("*.whl")
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    run(python, "-m", "pip", "install", "--quiet", "torch==2.13.0", "safetensors", "pyarrow", "pydantic")
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", wheel)
    find = (
        "import importlib.util as u; print([n for n in ('numpy', 'transformers', 'typer') if u.find_spec(n)])"
    )
    assert run(python, "-c", find) == "[]\n"
    assert str(tmp_path / "venv") in run(python, "-c", "import prorl; print(prorl.__file__)")
    assert run(python, "-c", GUIDE.format(folder=str(released))).splitlines()[0] == SAID
