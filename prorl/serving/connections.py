"""Connections of slow clients, which the server itself would wait for without end."""

import asyncio

from h11 import IDLE
from uvicorn.protocols.http.h11_impl import H11Protocol

TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


def bounded(seconds: float) -> type[H11Protocol]:
    """The server's protocol where a client has `seconds` to send the head of a request, from its first byte
    on, and as many to read what it is answered; then its connection ends.

    Bodies are bounded by `prorl.serving.limits`, idle connections by the server.
    """

    class Bounded(H11Protocol):
        _head: asyncio.TimerHandle | None = None
        _reading: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            # So that the transport says when anything at all waits to be read.
            transport.set_write_buffer_limits(high=0)
            self._wait_for_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.conn.their_state is IDLE:  # not even a head is there
                self._wait_for_head()
            else:
                self._head = _cancelled(self._head)

        def pause_writing(self) -> None:
            super().pause_writing()
            if self._reading is None:
                self._reading = self.loop.call_later(seconds, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._reading = _cancelled(self._reading)

        def connection_lost(self, exc: Exception | None) -> None:
            self._head, self._reading = _cancelled(self._head), _cancelled(self._reading)
            super().connection_lost(exc)

        def _wait_for_head(self) -> None:
            if self._head is None:
                self._head = self.loop.call_later(seconds, self._leave)

        def _leave(self) -> None:
            if not self.transport.is_closing():
                self.transport.write(TOO_SLOW)
                self.transport.close()

    return Bounded


def _cancelled(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
