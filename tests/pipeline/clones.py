"""Clones of the working tree in which the real pipeline runs, on MovieLens-100K with tiny settings."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prorl.params import lay_over
from prorl.presets import round_trip_yaml
from tools.stage_dependencies import ROOT

DATASET = "ml-100k"
ALWAYS = f"inputs@{DATASET}"  # the stage that every `dvc repro` runs

# So small that each stage takes little more than its imports; what it learns means nothing.
TINY = {
    "guides": ["search"],
    "prepare": {"split": [94, 3, 3]},
    "embed": {"model": "lsa", "dimension": 16},
    "reduce": {"dimension": 8},
    "quantize": {
        "n_restarts": 1,
        DATASET: {"n_codebooks": 3, "codebook_size": 32, "expand_final": True},
    },
    "simulator": {
        "max_length": 20,
        "epochs": 2,
        "SASRec": {"n_layers": 1, "hidden_size": 16, "inner_size": 16},
        "GRU4Rec": {"embedding_size": 16, "hidden_size": 16},
    },
    "policy": {
        "n_layers": 1,
        "d_model": 16,
        "d_ff": 16,
        "d_kv": 8,
        "n_heads": 2,
        "acceptances": [0.75],
    },
    "pretrain": {
        "search": {"n_candidates": 4, "validation_paths": 8},
        "max_steps": 6,
        "evaluate_every": 3,
        "batch_size": 16,
        "warmup_steps": 2,
    },
    "finetune": {
        "steps": 3,
        "centering_steps": 1,
        "prompts_per_step": 4,
        "n_rollouts": 3,
        "evaluate_every": 2,
        "validation_prompts": 16,
    },
    "evaluate": {"rollouts": [1, 3], "bootstrap_resamples": 100, "diversity_pairs": 100},
    "validate": {"positions": 4, "negatives": 4, "continuations": 2, "bootstrap_resamples": 100},
    "report": {"examples": {"best": 1, "median": 0, "worst": 0, "random": 1}},
}


@dataclass(frozen=True)
class Clone:
    """A git repository of its own at `root`, with its own cache and its own copy of the library."""

    root: Path

    @property
    def environment(self) -> dict[str, str]:
        """Variables for programs that run in the clone: the virtual environment's programs and the clone's
        own library first.
        """
        return {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("PRORL_", "GIT_", "DVC_"))
            },
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.root),
            "DVC_SITE_CACHE_DIR": str(self.root / ".dvc" / "tmp" / "site"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            **{
                f"GIT_{who}_{what}": value
                for who in ("AUTHOR", "COMMITTER")
                for what, value in (("NAME", "a"), ("EMAIL", "a@b.c"))
            },
        }

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess:
        """Run `command` at the clone's root; where `check`, a failure shows what it printed."""
        done = subprocess.run(
            command, cwd=self.root, env=self.environment, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            raise AssertionError(
                f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
            )
        return done

    def dvc(self, *arguments: str) -> str:
        """What `dvc` prints on standard output."""
        return self.run("dvc", *arguments).stdout

    def repro(self, *arguments: str) -> list[str]:
        """Run `dvc repro`; the names of the stages it ran."""
        return stages_run(self.dvc("repro", *arguments))

    @contextmanager
    def changed(self) -> Iterator[None]:
        """A block that may change settings, code and results; then all is as in the last commit again."""
        try:
            yield
        finally:
            self.run("git", "checkout", "--quiet", "--", ".")
            self.run("git", "clean", "--quiet", "--force", "-d")
            shutil.rmtree(
                self.root / "models/guides", ignore_errors=True
            )  # with those that are no longer there
            self.dvc("checkout")

    def commit(self, message: str) -> None:
        """Commit all that git does not ignore."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)

    def set(self, **sections: dict) -> None:
        """Put values into sections of params.yaml; a mapping is merged key by key."""
        yaml, path = round_trip_yaml(), self.root / "params.yaml"
        params = yaml.load(path)
        lay_over(params, sections)
        yaml.dump(params, path)

    def read(self, path: str):
        """The JSON value in the file `path`."""
        return json.loads((self.root / path).read_text(encoding="utf-8"))

    def of_commit(self, revision: str, path: str):
        """The JSON value in the file `path` of a commit."""
        return json.loads(self.run("git", "show", f"{revision}:{path}").stdout)

    def files(self, *folders: str) -> dict[str, Path]:
        """Every file below `folders`, by its path from the root."""
        found = (
            path for folder in folders for path in sorted((self.root / folder).rglob("*")) if path.is_file()
        )
        return {str(path.relative_to(self.root)): path for path in found}


def stages_run(printed: str) -> list[str]:
    """The names of the stages that a run of DVC says it ran, in order."""
    words = "Running stage '"
    return [line.removeprefix(words).rstrip("':") for line in printed.splitlines() if line.startswith(words)]


def clone_of_working_tree(root: Path) -> Clone:
    """A repository at `root` with the files git knows or does not ignore, tiny settings, and no results of an
    earlier run.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file() and not name.startswith("reports/") and name != "dvc.lock":
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    clone = Clone(root)
    clone.set(**TINY)
    clone.run("git", "init", "--quiet", "--initial-branch", "main")
    clone.commit("The working tree with tiny settings")
    return clone


def clone_of(origin: Clone, root: Path) -> Clone:
    """What a colleague gets by `git clone`."""
    origin.run("git", "clone", "--quiet", str(origin.root), str(root))
    return Clone(root)
