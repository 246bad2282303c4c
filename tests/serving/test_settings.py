"""The settings of the service, its token and the key of users' hashes."""

import json
import os
import stat
import threading

import pytest

from prorl.config.section import ConfigError
from prorl.serving.keys import user_key
from prorl.serving.settings import serve_settings

TOKEN = "a token of many characters"


def message(call, *arguments):
    with pytest.raises(ConfigError) as error:
        call(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    monkeypatch.delenv("PRORL_SERVE_TOKEN", raising=False)
    monkeypatch.delenv("PRORL_USER_KEY", raising=False)


def test_nothing_is_logged_explored_or_open_unless_it_is_said():
    settings = serve_settings({})
    assert (settings.host, settings.is_loopback, settings.open) == ("127.0.0.1", True, False)
    assert (settings.log, settings.log_histories, settings.explore) == (None, False, None)
    assert settings.token_bytes() is None


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"explore": 1.0},
            "explore: got 1.0, allowed without `log_histories`: null: what is explored is lost",
        ),
        ({"explore": 1.0, "log": "x"}, "explore: got 1.0, allowed without `log_histories`"),
        ({"explore": 0.0}, "explore: got 0.0 (float), allowed: a number above 0 and at most 10"),
        (
            {"log_histories": True},
            "log_histories: got true, allowed without `log`: false, or a folder as `log`",
        ),
        (
            {"host": "0.0.0.0"},
            "host: got '0.0.0.0', allowed: 127.0.0.1, ::1 or localhost; else a token, or `open`",
        ),
        ({"host": "example.org"}, "host: got 'example.org', allowed: 127.0.0.1"),
        ({"port": 65536}, "port: got 65536 (int), allowed: a number at least 0 and at most 65535"),
        ({"token": "short"}, "token: got SecretStr('**********')"),
        ({"token": TOKEN, "token_file": "x"}, "token_file: got 'x', allowed beside `token`: one of the two"),
        ({"bach": 3}, "bach: unknown key; did you mean 'batch'?"),
    ],
)
def test_settings_that_are_not_allowed(options, told):
    assert message(serve_settings, options).startswith(f"options: serve.{told}")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_this_machine_alone_needs_no_token(host):
    assert serve_settings({"host": host}).is_loopback


def test_others_than_this_machine_need_a_token_or_a_word(monkeypatch):
    everywhere = {"host": "0.0.0.0"}
    assert serve_settings(everywhere | {"open": True}).token_bytes() is None
    assert serve_settings(everywhere | {"token": TOKEN}).token_bytes() == TOKEN.encode()
    monkeypatch.setenv("PRORL_SERVE_TOKEN", TOKEN)
    settings = serve_settings(everywhere)
    assert settings.token_bytes() == TOKEN.encode()
    assert TOKEN not in repr(settings)


def test_a_token_comes_from_a_file_too(tmp_path):
    file = tmp_path / "token"
    settings = serve_settings({"host": "0.0.0.0", "token_file": str(file)})
    assert message(settings.token_bytes).startswith(f"serve.token_file: {file}: ")
    file.write_text(f"{TOKEN}\n")
    assert settings.token_bytes() == TOKEN.encode()
    file.write_text("short\n")
    assert message(settings.token_bytes).endswith("got a token of 5 characters, allowed: 16 or more")


@pytest.mark.parametrize(
    ("name", "text"),
    [("s.json", '{"serve": {"port": 9, "log": "logs"}}'), ("s.yaml", "serve:\n  port: 9\n  log: logs\n")],
)
def test_settings_come_from_a_file_and_options_from_before_it(tmp_path, name, text):
    file = tmp_path / name
    file.write_text(text)
    settings = serve_settings({"port": 10, "log": None}, file)
    assert (settings.port, str(settings.log)) == (10, "logs")


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("s.json", "{", "not JSON: "),
        ("s.yaml", "a: [", "not readable as YAML: "),
        ("s.yaml", "serve: !!python/object:os.system {}", "not readable as YAML: "),
        ("s.json", "[]", "serve: missing, allowed: a mapping of the service's settings"),
        ("s.yaml", "served: {}", "serve: missing, allowed: a mapping"),
        ("s.json", '{"serve": {}, "server": {}}', "server: unknown key; did you mean 'serve'?"),
        ("s.json", '{"serve": {"port": "9"}}', "serve.port: got '9' (str), allowed: a whole number"),
    ],
)
def test_a_file_of_settings_that_is_none(tmp_path, name, text, told):
    file = tmp_path / name
    file.write_text(text)
    assert message(serve_settings, {}, file).startswith(f"{file}: {told}")
    assert message(serve_settings, {}, tmp_path / "no.json").startswith(f"{tmp_path / 'no.json'}: ")


def test_a_key_is_made_once_for_its_owner_alone(tmp_path):
    file = tmp_path / "deep" / "user.key"
    keys = []
    threads = [threading.Thread(target=lambda: keys.append(user_key(file))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8
    assert set(keys) == {user_key(file)}
    assert len(keys[0]) == 32
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert os.listdir(file.parent) == ["user.key"]
    assert user_key(tmp_path / "other.key") != keys[0]


def test_a_key_that_others_may_read_or_that_is_none_is_refused(tmp_path, monkeypatch):
    file = tmp_path / "user.key"
    user_key(file)
    file.chmod(0o640)
    assert message(user_key, file) == f"{file}: mode: got 0640, allowed: 0600, since it holds a key"
    file.chmod(0o600)
    file.write_text("ab" * 31)
    assert message(user_key, file) == f"{file}: got 62 characters, allowed: 64 hexadecimal digits"
    file.write_bytes(b"\xff" * 64)
    assert message(user_key, file) == f"{file}: got 64 characters, allowed: 64 hexadecimal digits"
    monkeypatch.setenv("PRORL_USER_KEY", "cd" * 32)
    assert user_key(file) == bytes.fromhex("cd" * 32)
    monkeypatch.setenv("PRORL_USER_KEY", "secret")
    assert message(user_key, file) == "PRORL_USER_KEY: got 6 characters, allowed: 64 hexadecimal digits"
    monkeypatch.delenv("PRORL_USER_KEY")
    assert message(user_key, tmp_path / "user.key" / "below").startswith(
        f"{tmp_path / 'user.key' / 'below'}: "
    )


def test_the_settings_are_told_as_json_has_them():
    values = serve_settings({"token": TOKEN, "log": "logs"}).as_json()
    assert values["token"] == "**********"
    assert json.dumps(values)
