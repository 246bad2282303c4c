"""Services in threads, and their page in a browser."""

import threading
import time
from contextlib import contextmanager

import uvicorn

from prorl.serving.app import create_app
from prorl.serving.run import listener
from prorl.serving.settings import serve_settings


@contextmanager
def served(policy, **settings):
    """The address of a service in a thread of its own."""
    settings = serve_settings({"port": 0} | settings)
    socket = listener(settings)
    server = uvicorn.Server(uvicorn.Config(create_app(policy, settings), log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{socket.getsockname()[1]}/"
    server.should_exit = True
    thread.join()


@contextmanager
def opened(browser, address, *, errors=(), **options):
    """A page in a context of its own; its console may hold only `errors`, and no other host is asked."""
    context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
    context.set_default_timeout(10_000)
    page, told, hosts = context.new_page(), [], set()
    page.on(
        "console", lambda message: told.append(message.text) if message.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    page.goto(address)
    yield page
    context.close()
    assert [text for text in told if not any(error in text for error in errors)] == []
    assert hosts == {address.split("/")[2]}
