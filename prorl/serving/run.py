"""Runs the service until it is told to stop."""

import logging
import socket
import sys
from pathlib import Path

from prorl.bundle.policy import load_policy
from prorl.config.section import ConfigError
from prorl.extras import need
from prorl.serving.settings import Serve

CONNECTIONS_PER_PLACE = 4  # of the queue; beyond them the server answers 503 without reading a body


def run(policy_folder: str | Path, settings: Serve, device: str | None = None) -> None:
    """Serve the released policy in `policy_folder` (or of this name on a hub) until SIGINT or SIGTERM; what
    waits then is answered.

    Raises `ConfigError` and `DataError` for settings and folders that are not allowed, and where the address
    is taken.
    """
    need("serve", "the service")
    import uvicorn

    from prorl.serving.app import create_app
    from prorl.serving.connections import bounded

    logging.basicConfig(level=logging.WARNING, format="prorl: %(levelname)s: %(message)s")
    bound = listener(settings)
    app = create_app(load_policy(policy_folder, device), settings)
    config = uvicorn.Config(
        app,
        http=bounded(settings.body_seconds),
        log_level="error",  # not a line for each request that is refused
        access_log=False,  # addresses and queries are nobody's business
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=int(settings.timeout_seconds) + 1,
        limit_concurrency=CONNECTIONS_PER_PLACE * settings.queue + 64,
    )
    policy = app.state.service.policy
    bound.listen()  # who calls at once waits a moment, and is not sent away
    print(f"{policy.name} on {policy.dataset}, version {policy.version}: {_address(bound)}", flush=True)
    if not (settings.is_loopback or settings.token_bytes()):
        print("anybody who reaches this machine can call it: there is no token", file=sys.stderr, flush=True)
    uvicorn.Server(config).run(sockets=[bound])


def listener(settings: Serve) -> socket.socket:
    """A socket bound to the address of `settings`. Raises `ConfigError` where it cannot be."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise ConfigError(
            f"serve: {settings.host}:{settings.port}: {error}, allowed: a free address"
        ) from None
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"
