"""The client's side of the local API with a node that ends in the middle."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from userlan.cli import client as client_module
from userlan.cli.background import answering
from userlan.cli.client import SOCKET_NAME, Client, NodeGoneError, NotRunningError, stop_node
from userlan.driver.state import StateFolder

Serve = Callable[[bytes], None]


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / SOCKET_NAME))
        made.listen(5)
        yield made


@pytest.fixture
def serve(tmp_path: Path, listener: socket.socket) -> Iterator[Serve]:
    """A node that takes one request, answers so, and ends."""
    threads: list[threading.Thread] = []

    def begin(answer: bytes) -> None:
        def node() -> None:
            connection, _ = listener.accept()
            with connection:
                assert connection.recv(65536).endswith(b"\n")
                listener.close()
                (tmp_path / SOCKET_NAME).unlink()
                connection.sendall(answer)

        threads.append(threading.Thread(target=node))
        threads[-1].start()

    yield begin
    for thread in threads:
        thread.join()


def test_a_node_that_ends_before_it_is_asked_has_gone(tmp_path: Path, listener: socket.socket) -> None:
    """It was connected to, and never took the connection: sending fails, not receiving."""
    client = Client(tmp_path)
    listener.close()
    with pytest.raises(NodeGoneError):
        client.request("status", {})
    client.close()


def test_a_node_that_ends_before_it_answers_has_gone(tmp_path: Path, serve: Serve) -> None:
    serve(b"")
    client = Client(tmp_path)
    with pytest.raises(NodeGoneError):
        client.request("status", {})
    client.close()


@pytest.mark.parametrize("answer", [b'{"done": {}}\n', b""], ids=["told", "ending already"])
def test_a_node_has_stopped_once_its_folder_is_free(
    tmp_path: Path, serve: Serve, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its socket goes first: who starts the next node then would find the folder held."""
    folder = StateFolder(tmp_path, print)
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            folder.close()

    monkeypatch.setattr(client_module, "time", SimpleNamespace(monotonic=time.monotonic, sleep=sleep))
    serve(answer)
    stop_node(tmp_path)
    assert len(slept) == 3
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\nnode\n"


def test_where_no_node_is_there_is_none_to_stop(tmp_path: Path) -> None:
    with pytest.raises(NotRunningError):
        stop_node(tmp_path)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b'{"done": {"process": 7, "ending": false}}\n', 7),
        (b'{"done": {"process": 7, "ending": true}}\n', None),
        (b'{"done": {}}\n', 0),
        (b"", None),
    ],
    ids=["runs", "ends", "older", "gone"],
)
def test_a_node_that_is_about_to_end_is_none_to_go_on_with(tmp_path: Path, serve: Serve, answer: bytes, found: int | None) -> None:
    serve(answer)
    assert answering(tmp_path) == found


def test_what_does_not_run_does_not_answer(tmp_path: Path) -> None:
    assert answering(tmp_path) is None
