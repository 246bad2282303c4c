"""The service in a process of its own, without the packages of the pipeline."""

import json
import os
import subprocess
import sys
import tempfile

ABSENT = (
    "numpy",
    "pandas",
    "transformers",
    "ruamel",
    "tqdm",
    "dvc",
    "recbole",
    "sklearn",
    "scipy",
    "accelerate",
)
SERVER = f"""
import json, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)

sys.meta_path.insert(0, Absent())
from prorl.serving.run import run
from prorl.serving.settings import serve_settings
run(sys.argv[1], serve_settings(json.loads(sys.argv[2])), "cpu")
"""


class Running:
    """A service without the packages of the extra `pipeline`, in a process of its own."""

    def __init__(self, bundle, **settings):
        arguments = [sys.executable, "-c", SERVER, str(bundle), json.dumps({"port": 0} | settings)]
        # Not a pipe: one that nobody reads would hold the service up.
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=self._errors, text=True)
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()

    @property
    def address(self):
        return self.line.split()[-1]

    def ended(self, sign):
        """What it says on standard error, and its exit status, after the signal `sign`."""
        os.kill(self.process.pid, sign)
        self.process.communicate(timeout=60)
        self._errors.seek(0)
        return self._errors.read(), self.process.returncode
