"""The settings of the service: options of `prorl serve`, or the mapping `serve` of a file of its own.

They have defaults, since a released policy is served without a checkout and its params.yaml.
"""

import ipaddress
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from prorl.config.section import ConfigError, Refused, Settings, build, unknown_key

TOKEN_VARIABLE = "PRORL_SERVE_TOKEN"  # where the token is, not what it is  # nosec B105
SHORTEST_TOKEN = 16
AnyPath = Annotated[Path, Field(strict=False)]  # text too, as files and command lines have it


class Serve(Settings):
    """How a released policy is served."""

    host: str = Field(default="127.0.0.1", description="The address to listen at")
    port: int = Field(default=8000, ge=0, le=65535, description="The port; 0 takes a free one")
    token: SecretStr | None = Field(
        default=None,
        description="What callers must send as `Authorization: Bearer TOKEN`; 16 characters or more. "
        f"From the environment variable {TOKEN_VARIABLE}, or `token_file`, never from the command line",
    )
    token_file: AnyPath | None = Field(default=None, description="A file that holds the token")
    open: bool = Field(
        default=False, description="Serve others than this machine without a token, said explicitly"
    )
    explore: float | None = Field(
        default=None,
        gt=0,
        le=10,
        description="The temperature at which every path is sampled; null: the likeliest path. "
        "Needs log_histories",
    )
    log: AnyPath | None = Field(default=None, description="The folder of the log; null: no log is written")
    log_histories: bool = Field(
        default=False, description="Whether the log holds users' histories; needs `log`"
    )
    key_file: AnyPath | None = Field(
        default=None,
        description="The key of users' hashes; made, for its owner alone, where it is missing. null: "
        "beside the log, `<log>.key`. The environment variable PRORL_USER_KEY comes first",
    )
    rotate_mb: float = Field(
        default=64.0, gt=0, description="Megabytes after which the log begins a new file"
    )
    sync_seconds: float = Field(
        default=1.0, ge=0, le=60, description="How often the log is forced to the disk; 0: at every write"
    )
    batch: int = Field(default=64, ge=1, le=4096, description="The most requests of one batch")
    batch_wait_ms: float = Field(
        default=4.0, ge=0, le=1000, description="How long the first request of a batch waits for others"
    )
    queue: int = Field(
        default=256, ge=1, description="Requests that may wait; beyond it the answer is 429 with Retry-After"
    )
    timeout_seconds: float = Field(default=30.0, gt=0, le=600, description="The longest wait for an answer")
    body_seconds: float = Field(
        default=10.0,
        gt=0,
        le=600,
        description="The longest wait for a request's head, for its body, and for its answer to be read",
    )
    max_body_kb: int = Field(default=64, ge=1, le=10_240, description="The largest body of a request")
    max_history: int = Field(default=500, ge=1, description="The longest history of a request, in items")
    max_avoid: int = Field(default=100, ge=0, description="The most things that a request may avoid")
    max_paths: int = Field(default=8, ge=1, le=100, description="The most paths of one request")
    remembered: int = Field(
        default=10_000,
        ge=1,
        description="Requests that answers and next steps may name; the oldest are forgotten",
    )

    @field_validator("token")
    @classmethod
    def _token_is_long(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and len(token.get_secret_value()) < SHORTEST_TOKEN:
            raise ValueError(f"a token of {SHORTEST_TOKEN} characters or more")
        return token

    @model_validator(mode="after")
    def _settings_agree(self) -> Self:
        if self.log_histories and self.log is None:
            raise Refused("log_histories", "true", "false, or a folder as `log` too", where="without `log`")
        if self.explore is not None and not self.log_histories:
            allowed = "null: what is explored is lost without a log that estimates can be made from"
            raise Refused("explore", self.explore, allowed, where="without `log_histories`")
        if not (self.is_loopback or self.open or self.token or self.token_file):
            allowed = "127.0.0.1, ::1 or localhost; else a token, or `open` to say that none is wanted"
            raise Refused("host", repr(self.host), allowed)
        if self.token and self.token_file:
            raise Refused("token_file", repr(str(self.token_file)), "one of the two", where="beside `token`")
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can call."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def token_bytes(self) -> bytes | None:
        """The token that callers must send, read from its file where it lies there; None: none is needed.

        Raises `ConfigError` for a file that cannot be read, and for a token that is too short.
        """
        if self.token is not None:
            return self.token.get_secret_value().encode()
        if self.token_file is None:
            return None
        try:
            token = self.token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"serve.token_file: {self.token_file}: {error}, allowed: a file of text"
            ) from None
        if len(token) < SHORTEST_TOKEN:
            found = f"got a token of {len(token)} characters"
            raise ConfigError(
                f"serve.token_file: {self.token_file}: {found}, allowed: {SHORTEST_TOKEN} or more"
            )
        return token.encode()


def serve_settings(options: Mapping[str, Any], file: Path | None = None) -> Serve:
    """The settings of the mapping `serve` of `file` (JSON, or YAML, which needs the extra `pipeline`), under
    `options` by name; those that are None are not given. The token comes from PRORL_SERVE_TOKEN where neither
    names one.

    Raises `ConfigError` for the first mistake.
    """
    values = {} if file is None else _of_file(file)
    values |= {name: value for name, value in options.items() if value is not None}
    token = os.environ.get(TOKEN_VARIABLE)
    if token and not values.keys() & {"token", "token_file"}:
        values["token"] = token
    if isinstance(values.get("token"), str):  # so that no message can show it
        values["token"] = SecretStr(values["token"])
    return build(Serve, values, "serve", str(file or "options"))


def _of_file(file: Path) -> dict[str, Any]:
    """The mapping `serve` of `file`."""
    values = _json(file) if file.suffix == ".json" else _yaml(file)
    if not isinstance(values, dict) or not isinstance(values.get("serve"), dict):
        raise ConfigError(f"{file}: serve: missing, allowed: a mapping of the service's settings")
    for key in values:
        if key != "serve":
            raise ConfigError(f"{file}: {key}: {unknown_key(key, ['serve'])}")
    return dict(values["serve"])


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: {error}, allowed: a file of settings in JSON or YAML") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: not JSON: {error}") from None


def _yaml(file: Path) -> Any:
    from prorl.extras import need

    need("pipeline", f"settings in YAML ({file}); JSON needs nothing")
    from prorl.params import read_yaml

    return read_yaml(file)
