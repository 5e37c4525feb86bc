"""Downloads are verified before they get their name, whatever the server does."""

import hashlib
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from avi.datasets import fetch
from avi.datasets.fetch import PublicFile, obtain, require_sha256
from avi.errors import DataError, ResourceError

CONTENT = bytes(range(256)) * 512
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HTML = b"<html>please sign in</html>"


def accept(content):
    return require_sha256(content, SHA256)


class Handler(BaseHTTPRequestHandler):
    """Answers by the path: /whole, /truncated, ...; `/then/...` fails first and is whole later."""

    asked: list = []

    def do_GET(self):
        self.asked.append(self.path)
        behaviour = self.path.strip("/").split("/")[0]
        if behaviour == "second" and len(self.asked) > 1:
            behaviour = "whole"
        getattr(self, behaviour)()

    def answer(self, content, length=None, status=200, **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def whole(self):
        self.answer(CONTENT)

    def truncated(self):
        self.answer(CONTENT[:5000], length=len(CONTENT))

    def shorter(self):
        self.answer(CONTENT[:5000])

    def altered(self):
        self.answer(CONTENT[:-1] + b"!")

    second = altered

    def longer(self):
        self.answer(CONTENT * 100)

    def redirected(self):
        self.answer(b"", status=302, Location="/page")

    def page(self):
        self.answer(HTML)

    def elsewhere(self):
        self.answer(b"", status=302, Location="file:///etc/passwd")

    def circle(self):
        self.answer(b"", status=302, Location="/circle")

    def missing(self):
        self.answer(HTML, status=404)

    def stalled(self):
        self.answer(CONTENT[:5000], length=len(CONTENT))
        self.wfile.flush()
        time.sleep(2)

    def silent(self):
        time.sleep(2)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    Handler.asked = []
    monkeypatch.setattr(fetch, "STALLED", 0.3)
    monkeypatch.setattr(fetch, "PAUSE", 0.0)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        running.block_on_close = False
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def file_at(*urls):
    return PublicFile("set", ("rows.gz", "rows"), urls, max_bytes=len(CONTENT) + 1)


def cached(tmp_path):
    return sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file())


def test_a_download_is_kept_and_not_asked_for_again(server, tmp_path, capsys):
    file = file_at(f"{server}/whole/rows.gz")
    assert obtain(file, accept) == CONTENT
    assert obtain(file, accept) == CONTENT
    assert Handler.asked == ["/whole/rows.gz"]
    assert cached(tmp_path) == ["rows.gz"]
    assert "downloaded rows.gz: 128 KiB" in capsys.readouterr().err


@pytest.mark.parametrize(
    "behaviour",
    ["truncated", "shorter", "altered", "longer", "redirected", "elsewhere", "circle", "missing",
     "stalled", "silent"],
)  # fmt: skip
def test_a_download_that_is_not_the_file_is_tried_three_times_and_leaves_nothing(
    server, tmp_path, behaviour
):
    start = time.monotonic()
    with pytest.raises(ResourceError) as refusal:
        obtain(file_at(f"{server}/{behaviour}/rows.gz"), accept)
    message = str(refusal.value)
    assert "rows.gz could not be downloaded in 3 tries" in message
    assert f"put it into {tmp_path / 'cache' / 'set'}" in message
    assert "AVI_DATA_DIR" in message
    assert sum(path.endswith("rows.gz") for path in Handler.asked) >= 3 or behaviour == "circle"
    assert cached(tmp_path) == []
    assert time.monotonic() - start < 10


def test_a_server_that_recovers_is_enough(server, tmp_path):
    assert obtain(file_at(f"{server}/second/rows.gz"), accept) == CONTENT
    assert len(Handler.asked) == 2
    assert cached(tmp_path) == ["rows.gz"]


def test_another_mirror_is_tried(server):
    file = file_at(f"{server}/missing/rows.gz", f"{server}/whole/rows.gz")
    assert obtain(file, accept) == CONTENT


def test_without_a_network_the_file_and_the_folder_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "PAUSE", 0.0)
    file = file_at("http://127.0.0.1:9/rows.gz")
    with pytest.raises(
        ResourceError, match=r"get the file from http://127.0.0.1:9/rows.gz and put"
    ):
        obtain(file, accept)
    assert cached(tmp_path) == []


@pytest.mark.parametrize("place", ["data/set/rows", "data/rows.gz", "cache/set/rows"])
def test_a_file_that_is_there_is_not_downloaded(tmp_path, monkeypatch, place):
    monkeypatch.setenv("AVI_DATA_DIR", str(tmp_path / "data"))
    path = tmp_path / place
    (tmp_path / "data").mkdir()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(CONTENT)
    assert obtain(file_at(), accept) == CONTENT


def test_a_data_folder_that_is_not_there_is_a_mistake(tmp_path, monkeypatch):
    monkeypatch.setenv("AVI_DATA_DIR", str(tmp_path / "absent"))
    with pytest.raises(ResourceError, match="AVI_DATA_DIR=.*absent is not a folder"):
        obtain(file_at(), accept)


def test_a_wrong_file_of_the_users_is_refused_and_not_replaced(server, tmp_path, monkeypatch):
    monkeypatch.setenv("AVI_DATA_DIR", str(tmp_path))
    (tmp_path / "rows").write_bytes(HTML)
    with pytest.raises(DataError, match=f"{tmp_path}/rows is not .* expected {SHA256}"):
        obtain(file_at(f"{server}/whole/rows.gz"), accept)
    assert Handler.asked == []
    assert (tmp_path / "rows").read_bytes() == HTML


def test_a_file_that_went_bad_in_the_cache_is_downloaded_again(server, tmp_path):
    file = file_at(f"{server}/whole/rows.gz")
    obtain(file, accept)
    (tmp_path / "cache" / "set" / "rows.gz").write_bytes(CONTENT[:-1])
    assert obtain(file, accept) == CONTENT
    assert len(Handler.asked) == 2


def test_a_cache_that_cannot_be_written_is_named(server, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("AVI_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(ResourceError, match=f"{tmp_path}/file"):
        obtain(file_at(f"{server}/whole/rows.gz"), accept)


def test_several_processes_may_fill_one_cache(server, tmp_path):
    file = file_at(f"{server}/whole/rows.gz")
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(obtain(file, accept))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [CONTENT] * 8
    assert cached(tmp_path) == ["rows.gz"]


def test_the_default_cache_is_the_systems(monkeypatch, tmp_path):
    monkeypatch.delenv("AVI_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "avi" / "set").mkdir(parents=True)
    (tmp_path / "avi" / "set" / "rows").write_bytes(CONTENT)
    if os.uname().sysname != "Linux":
        pytest.skip("XDG_CACHE_HOME is for Linux")
    assert obtain(file_at(), accept) == CONTENT
