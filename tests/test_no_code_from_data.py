"""Nothing that is read is ever run: no statement could, and what may be mistaken for code is not."""

import ast
import json
import pickle

import pytest
import torch

from prorl.config.section import ConfigError
from prorl.errors import DataError
from prorl.files import write_json
from prorl.guides.registry import own_kinds, written_guides
from prorl.items.causal_models import load_causal_model
from prorl.items.language_model import load_encoder
from prorl.layout import GUIDE_FILE
from prorl.params import Params
from prorl.simulators.recbole_training import fit_by_recbole
from tests.items.tiny_qwen3 import save_tiny_qwen3
from tests.tiny_models import PARAMS, SIMULATOR, sequences_of
from tools.stage_dependencies import ROOT

SCRIPTS = sorted(
    path for folder in ("prorl", "stages", "tools", "benchmarks") for path in (ROOT / folder).rglob("*.py")
)
FORBIDDEN_NAMES = {"eval", "exec", "compile", "__import__", "execfile"}
FORBIDDEN_CALLS = {
    *("os.system", "os.popen", "yaml.unsafe_load", "yaml.full_load", "marshal.loads", "shelve.open"),
    *("joblib.load", "dill.loads", "cloudpickle.loads", "pandas.read_pickle", "pd.read_pickle"),
    *("runpy.run_path", "runpy.run_module", "torch.hub.load", "tempfile.mktemp"),
}
# Modules that load what may hold code. An exception of pickle's may be named: what refuses a file raises it.
FORBIDDEN_IMPORTS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "code"}
# Where a module is imported by a name that is not in the source, and whence the name comes.
NAMED_IMPORTS = {
    "prorl/__init__.py": "what the package offers, listed there",
    "prorl/registries.py": "module:attribute of params.yaml",
    "tools/mutant_runs.py": "the imports of the source itself",
}


def dotted(node):
    """`a.b.c` of a chain of attributes, "" for anything else."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def _names_a_harmless_module(call):
    """Whether an import by name has it in the source, as good as a statement, and may import that."""
    named = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None
    return isinstance(named, str) and named.partition(".")[0] not in FORBIDDEN_IMPORTS


def faults(source, name="x.py"):
    """What in `source` could run something that is read, as `line: what`."""
    found = []
    tree = ast.parse(source)
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    for node in ast.walk(tree):
        told = None
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            modules = names if isinstance(node, ast.Import) else [node.module or ""]
            for module in {module.partition(".")[0] for module in modules} & FORBIDDEN_IMPORTS:
                used = {dotted(part) for part in attributes if dotted(part).startswith(f"{module}.")}
                if isinstance(node, ast.ImportFrom):
                    used = {f"{module}.{part}" for part in names}
                if not used or used - {"pickle.UnpicklingError"}:
                    told = f"import of {module}"
        elif isinstance(node, ast.Call):
            called = dotted(node.func)
            options = {keyword.arg: keyword.value for keyword in node.keywords}

            def is_set(option, value, options=options):
                given = options.get(option)
                return isinstance(given, ast.Constant) and given.value == value

            ending = called.rpartition(".")[2]
            if called in FORBIDDEN_NAMES or called in FORBIDDEN_CALLS:
                told = called
            elif called == "torch.load" and not is_set("weights_only", True):
                told = "torch.load without weights_only=True"
            elif called in ("np.load", "numpy.load") and not is_set("allow_pickle", False):
                told = "np.load without allow_pickle=False"
            elif "shell" in options and not is_set("shell", False):
                told = f"{called} with a shell"
            elif "trust_remote_code" in options and not is_set("trust_remote_code", False):
                told = f"{called} with trust_remote_code"
            elif called == "YAML" and "typ" in options and not (is_set("typ", "safe") or is_set("typ", "rt")):
                told = "YAML that is neither safe nor round-trip"
            elif (called.startswith("yaml.") and ending in ("load", "load_all") and _is_pyyaml(tree)) or (
                ending == "import_module" and name not in NAMED_IMPORTS and not _names_a_harmless_module(node)
            ):
                told = called
        if told:
            found.append(f"{node.lineno}: {told}")
    return found


def _is_pyyaml(tree):
    return any(
        isinstance(node, ast.Import) and any(alias.name == "yaml" for alias in node.names)
        for node in ast.walk(tree)
    )


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_can_run_what_it_reads(path):
    assert faults(path.read_text(encoding="utf-8"), str(path.relative_to(ROOT))) == []


@pytest.mark.parametrize(
    "source",
    [
        "eval(x)",
        "exec(x)",
        "import pickle\npickle.load(x)",
        "from pickle import loads",
        "import pickle",
        "import yaml\nyaml.load(x)",
        "import torch\ntorch.load(x)",
        "import torch\ntorch.load(x, weights_only=False)",
        "import torch\ntorch.load(x, weights_only=flag)",
        "import numpy as np\nnp.load(x)",
        "import subprocess\nsubprocess.run(x, shell=True)",
        "import subprocess\nsubprocess.run(x, shell=flag)",
        "import os\nos.system(x)",
        "from_pretrained(x, trust_remote_code=True)",
        "from ruamel.yaml import YAML\nYAML(typ='unsafe')",
        "import importlib\nimportlib.import_module(x)",
    ],
)
def test_what_could_run_it_is_found(source):
    assert len(faults(source)) == 1


def test_the_exception_of_a_refused_file_may_be_named():
    assert faults("import pickle\ntry:\n    f()\nexcept pickle.UnpicklingError:\n    pass") == []
    assert faults("import re\nre.compile(x)\nmodel.eval()") == []
    assert faults("importlib.import_module('json')") == []
    for named in ("'pickle'", "'dill.detect'", "x", "f'{x}'", ""):
        assert faults(f"importlib.import_module({named})") == ["1: importlib.import_module"]


class Running:
    """Writes the file `ran` where a pickle of it is loaded."""

    def __init__(self, ran):
        self.ran = ran

    def __reduce__(self):
        return open, (str(self.ran), "w")


def test_a_folder_cannot_name_the_module_of_its_guide(tmp_path, monkeypatch):
    """The folder that the guide stage wrote, its kind changed by somebody else."""
    (tmp_path / "intruder.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nENTRY = None\n")
    monkeypatch.chdir(tmp_path)

    class Context:
        """As much of a `GuideContext` as is looked at before anything is built."""

        folder, key, simulators, source = tmp_path, "", {}, "params.yaml"

    monkeypatch.setattr("prorl.guides.registry.context_of", lambda context, name: OwnContext())

    class OwnContext(Context):
        folder = tmp_path / "search"

    record = {"kind": "intruder:ENTRY", "settings": {}, "tried": [], "figures": {}, "outside": {}}
    write_json(tmp_path / "search" / GUIDE_FILE, record)
    kinds = own_kinds(PARAMS)
    assert "search" not in kinds
    with pytest.raises(DataError, match=r"guide.json: kind: got 'intruder:ENTRY', allowed: .*guide.search"):
        written_guides(["search"], Context(), kinds)  # pyright: ignore[reportArgumentType]
    assert not (tmp_path / "ran").exists()
    with pytest.raises(ConfigError, match=r"a NoneType, allowed: a GuideEntry"):
        written_guides(["search"], Context(), {"search": "intruder:ENTRY"})  # pyright: ignore
    assert (tmp_path / "ran").exists(), "where params.yaml names it, it is imported"


def test_the_kinds_of_guides_are_those_of_params():
    raw = PARAMS.raw | {
        "guide": {"mine": {"kind": "a:B"}, "search": {"n": 1}, "odd": {"kind": 3}, "none": None}
    }
    assert own_kinds(Params(PARAMS.heads, raw, "params.yaml")) == {"mine": "a:B"}


def test_recbole_reads_and_writes_no_pickle_where_users_files_are(tmp_path, monkeypatch):
    """RecBole loads pickled data sets, loaders and checkpoints that it finds in its folders."""
    ran = tmp_path / "ran"
    for name in ("saved/log-for-GRU4Rec-dataloader.pth", "saved/log-SequentialDataset.pth", "log.pth"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(pickle.dumps(Running(ran)))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    loaded = []
    monkeypatch.chdir(tmp_path)
    for module, name in ((pickle, "load"), (pickle, "loads"), (torch, "load")):
        monkeypatch.setattr(module, name, lambda *a, name=name, **k: loaded.append(name))
    sequences = sequences_of(*[[(start + step) % 12 + 1 for step in range(6)] for start in range(6)])
    fit_by_recbole("GRU4Rec", sequences, sequences, 12, SIMULATOR.replace(max_length=6, epochs=1), seed=3)
    assert loaded == []
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert not ran.exists()


def with_code(folder, ran):
    """A model's folder whose config.json asks for the code beside it, which writes the file `ran`."""
    save_tiny_qwen3(folder, ["A film about the sea"])
    model = folder / "model"
    (model / "intruder.py").write_text(f"open({str(ran)!r}, 'w')\n")
    file = next(model.rglob("config.json"))
    config = json.loads(file.read_text())
    auto = dict.fromkeys(("AutoConfig", "AutoModel", "AutoModelForCausalLM"), "intruder.Model")
    config |= {"model_type": "intruder", "auto_map": auto}
    file.write_text(json.dumps(config))
    if file.parent != model:
        (file.parent / "intruder.py").write_text((model / "intruder.py").read_text())
    return model


def test_no_code_that_a_model_brings_is_run(tmp_path, monkeypatch):
    ran = tmp_path / "ran"
    model = with_code(tmp_path, ran)
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # what Transformers would ask at a terminal
    settings = type("Settings", (), {"model": str(model), "precision": "float32"})()
    with pytest.raises(ConfigError, match=r"embed.model: got .* contains custom code"):
        load_encoder(str(model), "cpu", settings)
    with pytest.raises(ConfigError, match=r"language_model.model: .* cannot be loaded"):
        load_causal_model(str(model), "language_model.model", "float32", torch.device("cpu"))
    assert not ran.exists()
