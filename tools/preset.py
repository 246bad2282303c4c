"""A run of the pipeline with a preset's settings, in a git worktree of its own: `python tools/preset.py ml-1m`.

`presets/<name>.yaml` is laid over params.yaml of the last commit: a mapping is merged key by key, anything else is replaced. Entries of
data sets that `datasets` then no longer names are left out. The worktree `.presets/<name>` has its own params.yaml, dvc.lock, reports,
models and DVC cache, so the checkout's stay as they are; it is kept, and the next run brings it to the commit then checked out and
goes on from what is there.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from ruamel.yaml import YAML, YAMLError

from prorl.config import GLOBAL_SECTIONS, SECTIONS, ConfigError
from prorl.files import atomic_file
from prorl.params import read_params

ROOT = Path(__file__).resolve().parent.parent
WORKTREES = Path(".presets")
READ_BY_STAGES = ("dvc.yaml", "params.yaml", "prorl", "stages", ".dvc", ".dvcignore")
KEPT = ("params.yaml", "dvc.lock", "reports")  # the worktree's own, beside data/ and models/, which git ignores


class PresetError(Exception):
    """A run that cannot start."""


def main(arguments: list[str]) -> int:
    """Run `dvc repro` for a preset; gives its exit status."""
    parser = argparse.ArgumentParser(prog="preset", description="Run the pipeline with a preset's settings, in a worktree of its own.")
    parser.add_argument("preset", help="the name of a file of presets/, without .yaml")
    parser.add_argument("--settings", type=Path, metavar="FILE", help="settings of your own, laid over the preset's")
    parser.add_argument("repro", nargs=argparse.REMAINDER, metavar="...", help="arguments of `dvc repro`, such as a stage")
    options = parser.parse_args(arguments)
    layers = [preset_file(ROOT, options.preset), *([options.settings] if options.settings else [])]
    worktree = ROOT / WORKTREES / options.preset
    refuse_uncommitted_changes(ROOT)
    params = with_layers(ROOT / "params.yaml", layers)
    update(ROOT, worktree)
    with atomic_file(worktree / "params.yaml") as temporary:
        round_trip_yaml().dump(params, temporary)
    print(f"preset {options.preset}: in {worktree.relative_to(ROOT)}", flush=True)
    return subprocess.run(["dvc", "repro", *options.repro], cwd=worktree, env=environment(worktree), check=False).returncode


def preset_file(root: Path, name: str) -> Path:
    """The file of preset `name`. Raises `PresetError` naming those there are."""
    files = {path.stem: path for path in sorted((root / "presets").glob("*.yaml"))}
    if name not in files:
        raise PresetError(f"no preset {name!r}; there are: {', '.join(files)}")
    return files[name]


def refuse_uncommitted_changes(root: Path) -> None:
    """Raises `PresetError` if what stages read differs from the last commit, which is what a preset runs.

    Presets themselves are taken as they are.
    """
    status = git(root, "status", "--porcelain", "--untracked-files=all", "--no-renames", "--", *READ_BY_STAGES)
    changed = [line[3:] for line in status.splitlines()]
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise PresetError(f"uncommitted changes in {', '.join(changed[:3])}{more}; a preset runs the last commit: commit them first")


def update(root: Path, worktree: Path) -> None:
    """Bring `worktree` to the commit that is checked out in `root`, but for its settings and results; make it if need be."""
    commit = git(root, "rev-parse", "HEAD").strip()
    if not (worktree / ".git").exists():
        git(root, "worktree", "add", "--quiet", "--force", "--detach", "--no-checkout", str(worktree), commit)
    kept = [f":(exclude,top){path}" for path in KEPT]
    git(worktree, "restore", "--source", commit, "--staged", "--worktree", "--", ":/", *kept)
    git(worktree, "reset", "--quiet", "--mixed", commit)


def with_layers(params_file: Path, layers: list[Path]) -> dict:
    """The settings of `params_file` with those of the files `layers` laid over them, one after another.

    Raises `ConfigError` naming the file with the mistake.
    """
    params = round_trip_yaml().load(params_file)
    for layer in layers:
        before = list(params["datasets"])
        lay_over(params, settings_of(layer))
        drop_other_data_sets(params, before)
        with tempfile.TemporaryDirectory() as folder:
            laid_over = Path(folder) / "params.yaml"
            round_trip_yaml().dump(params, laid_over)
            try:
                read_params(laid_over)
            except ConfigError as error:
                raise ConfigError(str(error).replace(str(laid_over), f"{os.path.relpath(layer)} over params.yaml")) from None
    return params


def settings_of(layer: Path) -> dict:
    """The settings in the file `layer`. Raises `ConfigError` if it is not there or no mapping."""
    shown = os.path.relpath(layer)
    try:
        settings = YAML(typ="safe").load(layer)
    except YAMLError as error:
        raise ConfigError(f"{shown}: not readable as YAML: {error}") from error
    except FileNotFoundError:
        raise ConfigError(f"{shown}: no such file") from None
    if not isinstance(settings, dict):
        raise ConfigError(f"{shown}: expected a mapping of sections, found {type(settings).__name__}")
    return settings


def lay_over(values: dict, changes: dict) -> None:
    """Put `changes` into `values`, in place: a mapping is merged key by key, anything else replaces what was there."""
    for key, change in changes.items():
        if isinstance(change, dict) and isinstance(values.get(key), dict):
            lay_over(values[key], change)
        else:
            values[key] = change


def drop_other_data_sets(params: dict, before: list[str]) -> None:
    """Drop from every section, in place, the entries of those data sets of `before` that are no longer among `datasets`."""
    kept = params["datasets"] if isinstance(params["datasets"], list) else before
    dropped = [dataset for dataset in before if dataset not in kept]
    for section in SECTIONS.keys() - set(GLOBAL_SECTIONS):
        if isinstance(params[section], dict):
            for dataset in dropped:
                params[section].pop(dataset, None)


def round_trip_yaml() -> YAML:
    """A reader and writer that keeps comments and line breaks."""
    yaml = YAML()
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def environment(worktree: Path) -> dict[str, str]:
    """This process's environment, with this Python's programs first and the worktree's own library instead of the checkout's."""
    variables = dict(os.environ)
    variables["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), variables["PATH"]])
    variables["PYTHONPATH"] = str(worktree)
    if variables.get("PRORL_ARCHIVES"):
        variables["PRORL_ARCHIVES"] = str(Path(variables["PRORL_ARCHIVES"]).resolve())
    return variables


def git(folder: Path, *arguments: str) -> str:
    """What `git` prints in `folder`. Raises `PresetError` with what it says if it fails."""
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PresetError(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (PresetError, ConfigError) as failure:
        sys.exit(f"preset: {failure}")
