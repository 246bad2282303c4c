"""The checkout that commands run in: made once, and read alone."""

import pytest

from tests.cli.checkout import write_checkout


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    return write_checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture
def checkout(made, monkeypatch):
    """The checkout as the current folder; output as into a pipe of 100 columns."""
    monkeypatch.chdir(made)
    monkeypatch.setenv("COLUMNS", "100")
    return made


@pytest.fixture
def prorl(capsys):
    """Runs a command; gives status, output and errors."""
    from prorl.cli import main

    def run(*arguments):
        status = main(list(arguments))
        return (status, *capsys.readouterr())

    return run
