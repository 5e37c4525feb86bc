"""A server that sends a byte now and then holds nobody up."""

import socket
import threading
import time

import pytest

from avi.datasets import fetch
from avi.datasets.fetch import PublicFile, obtain
from avi.errors import ResourceError


@pytest.fixture(params=["in the body", "in the header"])
def trickle(request):
    """Serve a byte every 0.05 seconds, for ever."""
    begin = b"HTTP/1.0 200 OK\r\n"
    begin += b"Content-Length: 100000\r\n\r\n" if request.param == "in the body" else b"X: "
    stop = threading.Event()

    def answer(connection):
        with connection:
            connection.recv(4096)
            connection.sendall(begin)
            while not stop.wait(0.05):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

    def serve(listener):
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/rows.gz"
        stop.set()
        listener.shutdown(socket.SHUT_RDWR)


def test_a_trickle_ends_at_the_deadline_of_the_whole_transfer(trickle, tmp_path, monkeypatch):
    monkeypatch.setenv("AVI_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("AVI_DATA_DIR", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(fetch, "SLOWEST", 0.5)
    monkeypatch.setattr(fetch, "PAUSE", 0.0)
    began = time.monotonic()
    with pytest.raises(ResourceError, match=r"more than 0.5 seconds(.|\n)*put it into"):
        obtain(PublicFile("set", ("rows.gz",), (trickle,), 100_000), bytes)
    assert time.monotonic() - began < 10
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
