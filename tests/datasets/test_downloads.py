"""Downloads from a server on this machine that can break off, change its file, and refuse."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from prorl.datasets.downloads import download
from prorl.tables import DataError

CONTENT = bytes(range(256)) * 10000  # more than two blocks


class Handler(BaseHTTPRequestHandler):
    """Serves `server.content` with ranges, or only `server.break_after` bytes of it where that is set."""

    def do_GET(self):
        content, start = self.server.content, 0
        self.server.asked.append((self.headers.get("Range"), self.headers.get("If-Range")))
        if self.server.status:
            self.send_error(self.server.status)
            return
        asked = self.headers.get("Range")
        if asked and self.headers.get("If-Range") in (None, self.server.tag):
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        self.send_response(206 if start else 200)
        if self.server.tag:
            self.send_header("ETag", self.server.tag)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][: self.server.break_after])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.content, server.tag, server.status, server.break_after, server.asked = (
            CONTENT,
            '"1"',
            None,
            None,
            [],
        )
        server.url = f"http://127.0.0.1:{server.server_port}/file.bin"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_file_arrives_whole_and_alone(server, tmp_path):
    download(server.url, tmp_path / "new" / "file.bin", 1)
    assert (tmp_path / "new" / "file.bin").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file.bin"]


@pytest.mark.parametrize("tag", ['"1"', None])
def test_a_broken_download_continues(server, tmp_path, tag):
    server.tag, server.break_after = tag, 1500000
    with pytest.raises(DataError, match=r"1500000 of 2560000 bytes.*run again to continue"):
        download(server.url, tmp_path / "file.bin", 1)
    assert not (tmp_path / "file.bin").exists()
    server.break_after = None
    download(server.url, tmp_path / "file.bin", 1)
    assert server.asked == [(None, None), ("bytes=1500000-", tag)]
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_that_changed_meanwhile_starts_anew(server, tmp_path):
    server.break_after = 1500000
    with pytest.raises(DataError):
        download(server.url, tmp_path / "file.bin", 1)
    server.content, server.tag, server.break_after = CONTENT[::-1], '"2"', None
    download(server.url, tmp_path / "file.bin", 1)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT[::-1]


def test_a_download_killed_just_before_its_end_is_complete(server, tmp_path):
    (tmp_path / "file.bin.partial").write_bytes(CONTENT)
    download(server.url, tmp_path / "file.bin", 1)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_thrown_away(server, tmp_path):
    (tmp_path / "file.bin.partial").write_bytes(CONTENT + b"more")
    with pytest.raises(DataError, match="416"):
        download(server.url, tmp_path / "file.bin", 1)
    download(server.url, tmp_path / "file.bin", 1)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_refusal_names_address_and_status(server, tmp_path):
    server.status = 404
    with pytest.raises(DataError, match=rf"{server.url}: the server answers 404"):
        download(server.url, tmp_path / "file.bin", 1)
    assert list(tmp_path.iterdir()) == []


def test_no_server_at_all(tmp_path):
    with pytest.raises(DataError, match=r"http://127.0.0.1:9/file.bin: "):
        download("http://127.0.0.1:9/file.bin", tmp_path / "file.bin", 1)
    assert list(tmp_path.iterdir()) == []
