"""Logs of a service, written by its journal, for tests."""

from pathlib import Path

import pytest

from prorl.config.decoding import Decoding
from prorl.errors import DataError
from prorl.offpolicy.log import Log
from prorl.offpolicy.outcomes import OUTCOMES
from prorl.offpolicy.users import keyed_hash
from prorl.serving.journal import Journal, Shown
from prorl.serving.log import read_log

RULES = Decoding(constrained=True, forbid=["repeats", "history", "target"], min_length=2, max_length=4)
KEY = b"0123456789abcdef"


def a_path(number: int = 0, **changes) -> Shown:
    """Path `number`, of a user of its own, of items 4, 5 and 6 towards 9."""
    values = {
        "request_id": f"r{number}",
        "user": keyed_hash(str(number), KEY),
        "history": [1, 2, 3],
        "target": 9,
        "items": [4, 5, 6],
        "rules": RULES,
        "acceptance": 0.5,
        "temperature": 1.0,
        "propensities": [0.5, 0.25, 0.125],
        "model": "abc",
    }
    return Shown(**(values | changes))


def a_journal(folder: Path, rotate_bytes: int = 10**9, sync_seconds: float = 60.0) -> Journal:
    """A journal that neither rotates nor is forced to the disk, unless it is told so."""
    return Journal(folder, rotate_bytes, sync_seconds)


def written(folder: Path, *paths: Shown, answers: list | tuple = ()) -> Path:
    """The one file of a journal in `folder` that has shown `paths` and got `answers`: pairs of a request and
    its outcomes.
    """
    journal = a_journal(folder)
    for path in paths:
        journal.show([path])
    for request_id, outcomes in answers:
        journal.answer(request_id, outcomes)
    journal.close()
    return only_file(folder)


def only_file(folder: Path) -> Path:
    """The one file of `folder`."""
    (file,) = folder.iterdir()
    return file


def outcomes_of(log: Log) -> list[str]:
    """The outcomes of all rows of `log`, by name."""
    return [OUTCOMES[place] for place in log.outcome]


def refusal(path: Path | list) -> str:
    """What is told of the log at `path`, which is refused."""
    with pytest.raises(DataError) as error:
        read_log(path)
    return str(error.value)
