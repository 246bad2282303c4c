"""What is fuzzed: every reader of files that come from elsewhere, each with good files to begin from.

An input is one byte that says which of a target's files it replaces, and that file's content. All others stay
good. A reader that ends in anything but a result or a declared error, in one line that names the file, fails.
"""

import gzip
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from prorl.config.quantize import Quantize
from prorl.config.sections import SECTIONS
from prorl.params import laid_over, params_of, read_params, read_yaml
from tests.hostile import only_declared
from tools.stage_dependencies import ROOT

CORPUS = Path(__file__).parent / "corpus"  # <target>/<file>/<anything>: contents that are tried first
PARAMS = read_params(ROOT / "params.yaml")
RAW_IDS = ["a", "b"]


@dataclass(frozen=True)
class Target:
    """A reader, and the files that it reads.

    files: their names and good contents; read: reads them all from the folder it is given; packed: files that
    are compressed when they are written, so that what is fuzzed is their text; named: what messages may name
    in place of the folder.
    """

    files: dict[str, bytes]
    read: Callable[[Path], Any]
    packed: frozenset[str] = frozenset()
    named: str = ""

    def write(self, folder: Path, name: str, content: bytes) -> None:
        """Write one of the files."""
        (folder / name).write_bytes(gzip.compress(content, 1) if name in self.packed else content)

    def prepare(self, folder: Path) -> None:
        """Write all files as they are when they are good."""
        for name, content in self.files.items():
            self.write(folder, name, content)

    def run(self, folder: Path, data: bytes) -> None:
        """Read the files in `folder` once, one of them replaced as the input `data` says."""
        if not data:
            return
        name = list(self.files)[data[0] % len(self.files)]
        self.write(folder, name, data[1:])
        try:
            with only_declared(folder, self.named):
                self.read(folder)
        finally:
            self.write(folder, name, self.files[name])

    def inputs(self, corpus: Path) -> dict[str, bytes]:
        """Inputs to begin with, by name: the good files, and those of the folder `corpus`."""
        found = {}
        for number, (name, good) in enumerate(self.files.items()):
            found[f"{name}-good"] = bytes([number]) + good
            for path in sorted((corpus / name).iterdir() if (corpus / name).is_dir() else ()):
                found[f"{name}-{path.name}"] = bytes([number]) + path.read_bytes()
        return found


def _raw(source: str) -> Callable[[Path], Target]:
    def target(_: Path) -> Target:
        from tests.datasets.test_hostile_logs import READERS

        reader, settings, files = READERS[source]
        packed = frozenset(name for name in files if name.endswith(".gz"))
        return Target(files, lambda folder: reader(folder, settings), packed)

    return target


def _gzip(_: Path) -> Target:
    from prorl.datasets.records import json_records, literal_records

    def read(folder: Path) -> None:
        list(json_records(folder / "json.gz"))
        list(literal_records(folder / "literals.gz", {"a", "b"}))

    lines = {"json.gz": b'{"a": 1}\n{"b": "\xc3\xa9"}\n', "literals.gz": b"{'a': u'1'}\n{'b': [1, None]}\n"}
    return Target({name: gzip.compress(text, mtime=0) for name, text in lines.items()}, read)


def _zip(_: Path) -> Target:
    from prorl.datasets.archives import take_files

    def read(folder: Path) -> None:
        out = folder / "out"
        out.mkdir(exist_ok=True)
        take_files(folder / "x.zip", (("a.csv",), ("b.csv", "c.csv")), out, max_bytes=2**20)
        assert {path.name for path in folder.iterdir()} == {"out", "x.zip"}, "nothing lands outside"

    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name in ("folder/a.csv", "folder/b.csv"):
            zipped.writestr(zipfile.ZipInfo(name), "1,2\n" * 20, zipfile.ZIP_DEFLATED)
    return Target({"x.zip": stream.getvalue()}, read)


def _texts(_: Path) -> Target:
    from prorl.datasets.profiles import read_profiles

    files = {"texts.json": b'{"a": "A film", "b": "Other"}', "texts.csv": b"raw_id,text\na,A film\nb,Other\n"}
    return Target(files, lambda folder: [read_profiles(folder / name, RAW_IDS) for name in files])


def _codes(_: Path) -> Target:
    from prorl.semantic_ids.quantisers import imported_codes

    plain = PARAMS.section(Quantize).replace(n_codebooks=2, codebook_size=8, expand_final=False)

    def read(folder: Path) -> None:
        final = plain.replace(n_codebooks=1, expand_final=True)
        mapped = plain.replace(datamaps=str(folder / "x.datamaps"))
        imported_codes(folder / "mapped.sem_ids", RAW_IDS, mapped)
        for settings in (plain, final):
            imported_codes(folder / "x.sem_ids", RAW_IDS, settings)

    files = {
        "x.sem_ids": b'{"a": [1, 2], "b": [3, 4]}',
        "mapped.sem_ids": b'{"7": [1, 2], "8": [3, 4]}',
        "x.datamaps": b'{"id2item": {"7": "a", "8": "b"}}',
    }
    return Target(files, read, named="the codes")


def _vectors(_: Path) -> Target:
    from prorl.config.embed import EmbeddingImport
    from prorl.items.embedding import imported

    stream = BytesIO()
    np.save(stream, np.arange(6, dtype=np.float32).reshape(2, 3))
    files = {"x.npy": stream.getvalue(), "x.json": b'["b", "a"]'}

    def read(folder: Path) -> None:
        source = EmbeddingImport(vectors=str(folder / "x.npy"), items=str(folder / "x.json"))
        assert np.isfinite(imported(source, RAW_IDS)).all()

    return Target(files, read)


def _instances(_: Path) -> Target:
    from prorl.paths.released_files import read_released
    from tests.fuzz.contents import RELEASED, SEQUENCES

    def read(folder: Path) -> None:
        read_released(str(folder / "x"), "mine.import", SEQUENCES, RAW_IDS, ["u", "v"])

    return Target({f"x.{name}": json.dumps(value).encode() for name, value in RELEASED.items()}, read)


def _params(_: Path) -> Target:
    from prorl.serving.settings import serve_settings

    def read(folder: Path) -> None:
        read_params(folder / "params.yaml")
        params = params_of(laid_over(PARAMS.raw, read_yaml(folder / "over.yaml")), str(folder / "over.yaml"))
        for kind in SECTIONS.values():
            params.section(kind, params.datasets[0] if kind.per_data_set else None)
        for name in ("serve.yaml", "serve.json"):
            serve_settings({}, folder / name)

    files = {
        "params.yaml": (ROOT / "params.yaml").read_bytes()[:1500],
        "over.yaml": b"seed: 2\nfinetune:\n  kl: {coefficient: 0.1}\n  weights: {ctr: 2}\n",
        "serve.yaml": b"serve:\n  port: 9\n  log: logs\n",
        "serve.json": b'{"serve": {"port": 9, "host": "::1", "batch_wait_ms": 1.5}}',
    }
    return Target(files, read)


def _bundle(made: Path) -> Target:
    from prorl.bundle.policy import load_policy
    from tests.serving.bundles import write_tiny_bundle

    bundle = write_tiny_bundle(made)
    first = ("prorl.json", "config.json", "items.parquet", "semantic_ids.parquet", "model.safetensors")
    names = [*first, *sorted({path.name for path in bundle.iterdir()} - {*first})]

    def read(folder: Path) -> None:
        policy = load_policy(folder, "cpu")
        policy.guide([policy.items[1]], policy.items[len(policy.items)])

    return Target({name: (bundle / name).read_bytes() for name in names}, read)


def _service_log(made: Path) -> Target:
    from prorl.serving.log import read_log
    from tests.fuzz.contents import service_lines

    return Target({"x.jsonl": service_lines(made)}, read_log)


def _log(_: Path) -> Target:
    from prorl.offpolicy.reading import read_log
    from tests.fuzz.contents import log_lines, log_table

    files = {"x.jsonl": log_lines(), "x.parquet": log_table()}
    return Target(files, lambda folder: [read_log(folder / name) for name in files])


# Each is made in a folder of its own; what it needs is imported then.
TARGETS: dict[str, Callable[[Path], Target]] = {
    **{source: _raw(source) for source in ("ml-100k", "ml-1m", "steam", "amazon-books", "csv", "parquet")},
    "gzip": _gzip,
    "zip": _zip,
    "texts": _texts,
    "codes": _codes,
    "vectors": _vectors,
    "instances": _instances,
    "params": _params,
    "bundle": _bundle,
    "service-log": _service_log,
    "log": _log,
}
