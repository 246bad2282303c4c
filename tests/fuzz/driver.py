"""One target under atheris, `python -m tests.fuzz.driver TARGET FOLDER [options of libFuzzer]`.

FOLDER, which is empty, gets the target's files and the inputs to begin with. The process ends with the run.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["prorl"]):
    from tests.fuzz.targets import CORPUS, TARGETS
    from tests.hostile import TOKENS


def entry(token: bytes) -> str:
    """A line of libFuzzer's dictionary."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in token) + '"\n'


def main() -> None:
    """Fuzz until libFuzzer's options say that it is enough, or something is found."""
    name, root = sys.argv[1], Path(sys.argv[2])
    files, made, inputs = root / "files", root / "made", root / "inputs"
    for folder in (files, made, inputs):
        folder.mkdir()
    with atheris.instrument_imports(include=["prorl"]):
        target = TARGETS[name](made)
        target.prepare(files)
        target.read(files)  # what is imported on the way is instrumented too
    for label, data in target.inputs(CORPUS / name).items():
        (inputs / label).write_bytes(data)
    tokens = {token for token in TOKENS if len(token) <= 64}
    (root / "dictionary").write_text("".join(map(entry, sorted(tokens))))
    options = [f"-dict={root / 'dictionary'}", f"-artifact_prefix={root}/found-", *sys.argv[3:]]
    atheris.Setup([sys.argv[0], *options, str(inputs)], lambda data: target.run(files, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
