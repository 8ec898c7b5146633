"""Forwards: streams and datagrams through a local port; the commands and what is kept."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bridges.forward import ForwardBridge, ForwardOptions
from bridges.rules import ForwardRule
from bridges.udp_forward import UdpForward
from tests.bridges.conftest import until
from tests.bridges.harness import (
    NAS,
    Listener,
    Loop,
    MemoryStore,
    dial,
    read_all,
    real,
    refused,
    reset_at_once,
)
from tests.bridges.test_udp_associate import nothing_comes, udp
from userlan.driver.bridge import CommandError


class Running:
    """A bridge and its commands, called from the test."""

    def __init__(self, loop: Loop, bridge: Any) -> None:
        self.loop = loop
        self.bridge = bridge
        loop.call(bridge.start)

    def __call__(self, command: str, **arguments: object) -> Any:
        return self.loop.call(self.bridge.commands()[command], arguments)

    def stop(self) -> None:
        self.loop.call(self.bridge.stop)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def start(loop: Loop, lan: Any, store: MemoryStore) -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def make(*entries: str) -> Running:
        kept: Any = store
        options = ForwardOptions(tuple(ForwardRule.parse(entry) for entry in entries))
        running.append(Running(loop, ForwardBridge(lan, options, kept)))
        return running[-1]

    yield make
    for one in running:
        one.stop()


@pytest.fixture
def nas() -> Iterator[Listener]:
    with Listener(real(NAS)) as listening:
        yield listening


def where(told: Any) -> tuple[str, int]:
    host, _, port = told["listen"].rpartition(":")
    return host.strip("[]"), int(port)


def test_a_stream(start: Callable[..., Running], nas: Listener) -> None:
    run = start()
    told = run("forward", rule=f"0:nas:{nas.port}")
    assert told["state"] == "listening"
    assert told["listen"].startswith("127.0.0.1:")
    assert told["text"] == f"{told['listen']} → nas:{nas.port}"
    with dial(where(told)) as client, nas.accept() as far:
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        assert read_all(far) == b"question"
        far.sendall(b"answer")
        far.shutdown(socket.SHUT_WR)
        assert read_all(client) == b"answer"
    assert run("forwards") == run.bridge.status()
    assert run("forwards")[0]["rule"] == told["rule"]


def test_a_service_that_is_down_and_comes_up(start: Callable[..., Running]) -> None:
    with Listener(real(NAS)) as nas:
        port = nas.port
    run = start()
    told = run("forward", rule=f"0:nas:{port}")
    assert reset_at_once(where(told))
    assert "refused" in run("forwards")[0]["error"]
    again = socket.socket()
    with again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind((real(NAS), port))
        again.listen()
        with dial(where(told)) as client, again.accept()[0]:
            client.sendall(b"x")
        assert run("forwards")[0]["error"] == ""


def test_an_unknown_peer_is_accepted_with_a_warning(start: Callable[..., Running]) -> None:
    run = start()
    told = run("forward", rule="0:printer:631")
    assert "no member is called 'printer'" in told["warning"]
    assert told["warning"] in told["text"]
    assert reset_at_once(where(told))


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("8080:nas", "is not [BIND:]PORT:PEER:PORT"),
        ("8080:1.2.3.4:80", "1.2.3.4 is not an address of the LAN"),
        ("192.0.2.1:8080:nas:80", "is not an address of this computer"),
    ],
)
def test_clear_errors(start: Callable[..., Running], rule: str, says: str) -> None:
    run = start()
    with pytest.raises(CommandError) as caught:
        run("forward", rule=rule)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert run("forwards") == []


@pytest.mark.parametrize("protocol", ["", "/udp"])
def test_a_port_in_use(start: Callable[..., Running], protocol: str) -> None:
    with Listener("127.0.0.1") as taken, udp("127.0.0.1") as taken_udp:
        port = taken_udp.getsockname()[1] if protocol else taken.port
        run = start()
        with pytest.raises(CommandError, match=rf"127\.0\.0\.1:{port} is in use by another program"):
            run("forward", rule=f"{port}:nas:80{protocol}")
    told = run("forward", rule=f"{port}:nas:80{protocol}")
    with pytest.raises(CommandError, match="is forwarded already"):
        run("forward", rule=f"{port}:nas:81{protocol}")
    assert told["listen"] == f"127.0.0.1:{port}"


def test_arguments_of_a_wrong_kind(start: Callable[..., Running]) -> None:
    run = start()
    for arguments in ({}, {"rule": 1}):
        with pytest.raises(CommandError, match="wrong arguments"):
            run("forward", **arguments)


def test_what_commands_made_is_kept_and_removed(start: Callable[..., Running], nas: Listener, store: MemoryStore) -> None:
    run = start()
    told = run("forward", rule=f"0:nas:{nas.port}")
    run("forward", rule="0:nas:53/udp")
    run.stop()
    with pytest.raises(ConnectionRefusedError):
        reset_at_once(where(told))
    again = start()
    assert again("forwards")[0]["rule"] == told["rule"]
    with dial(where(told)) as client, nas.accept() as far:
        removed = again("unforward", rule=str(where(told)[1]))
        assert removed["text"].endswith("removed")
        assert refused(client)
        assert refused(far)
    assert len(again("forwards")) == 1
    with pytest.raises(CommandError, match="nothing is forwarded from"):
        again("unforward", rule=str(where(told)[1]))
    again("unforward", rule=again("forwards")[0]["rule"])
    assert store.value == []


def test_those_of_the_configuration_belong_to_it(start: Callable[..., Running], store: MemoryStore) -> None:
    with Listener("127.0.0.1") as taken:
        run = start(f"{taken.port}:nas:80", "0:nas:81")
        first, second = run("forwards")
        assert (first["state"], second["state"]) == ("failed", "listening")
        assert "in use" in first["error"]
        with pytest.raises(CommandError, match="comes from the configuration"):
            run("unforward", rule=str(taken.port))
    assert store.value is None


def test_a_damaged_store_does_no_harm(start: Callable[..., Running], store: MemoryStore) -> None:
    for value in ({"x": 1}, [1, None, "8080"], "text"):
        store.value = value
        run = start()
        assert run("forwards") == []


def test_ipv6_bind(start: Callable[..., Running], nas: Listener) -> None:
    run = start()
    told = run("forward", rule=f"[::1]:0:{NAS}:{nas.port}")
    with dial(where(told)), nas.accept():
        pass


# --- datagrams --------------------------------------------------------------------------------------------------------


def test_datagrams_of_several_senders(start: Callable[..., Running]) -> None:
    run = start()
    with udp(real(NAS)) as nas, udp("127.0.0.1") as one, udp("127.0.0.1") as two:
        told = run("forward", rule=f"0:nas:{nas.getsockname()[1]}/udp")
        assert told["listen"] in told["text"]
        assert "/udp" in told["text"]
        sources = {}
        for sender, text in ((one, b"one"), (two, b"two"), (one, b"one")):
            sender.sendto(text, where(told))
            data, source = nas.recvfrom(65535)
            sources[source] = data
        assert sorted(sources.values()) == [b"one", b"two"]
        for source, text in sources.items():
            nas.sendto(b"to " + text, source)
        assert (one.recv(10), two.recv(10)) == (b"to one", b"to two")
        assert run("forwards")[0]["streams"] == 2
        with udp(real(NAS)) as stranger:
            stranger.sendto(b"unasked", next(iter(sources)))
            assert nothing_comes(one)
        big = bytes(60000)
        one.sendto(big, where(told))
        assert nas.recv(65535) == big


def test_flows_are_bounded(loop: Loop, lan: Any) -> None:
    with udp(real(NAS)) as nas:
        forward = UdpForward(lan, "nas", nas.getsockname()[1], capacity=2)
        port = loop.call(forward.open, "127.0.0.1", 0)
        address = ("127.0.0.1", port.getHost().port)
        senders = [udp("127.0.0.1") for _ in range(3)]
        sources = []
        for sender in senders:
            sender.sendto(b"x", address)
            sources.append(nas.recvfrom(10)[1])
        assert len(forward) == 2
        assert forward.counters["flows-full"] == 1
        nas.sendto(b"late", sources[0])
        assert nothing_comes(senders[0])
        nas.sendto(b"in time", sources[2])
        assert senders[2].recv(10) == b"in time"
        for sender in senders:
            sender.close()
        loop.call(forward.close)
        loop.call(port.stopListening)


def test_flows_end(loop: Loop, lan: Any) -> None:
    with udp(real(NAS)) as nas, udp("127.0.0.1") as sender:
        forward = UdpForward(lan, "nas", nas.getsockname()[1], idle=0.2)
        port = loop.call(forward.open, "127.0.0.1", 0)
        sender.sendto(b"x", ("127.0.0.1", port.getHost().port))
        assert nas.recv(10) == b"x"
        until(lambda: len(forward) == 0, loop)
        loop.call(forward.close)
        loop.call(port.stopListening)


def test_datagrams_to_an_unknown_peer_are_counted(loop: Loop, lan: Any) -> None:
    forward = UdpForward(lan, "printer", 9)
    port = loop.call(forward.open, "127.0.0.1", 0)
    with udp("127.0.0.1") as sender:
        sender.sendto(b"x", ("127.0.0.1", port.getHost().port))
        until(lambda: forward.counters["unknown-name"] == 1, loop)
    loop.call(forward.close)
    loop.call(port.stopListening)


def test_many_streams(start: Callable[..., Running], nas: Listener) -> None:
    run = start()
    address = where(run("forward", rule=f"0:nas:{nas.port}"))
    results: list[bytes] = []

    def serve() -> None:
        for _ in range(50):
            with nas.accept() as far:
                far.sendall(read_all(far)[::-1])

    def use() -> None:
        with dial(address) as client:
            client.sendall(b"abc")
            client.shutdown(socket.SHUT_WR)
            results.append(read_all(client))

    threads = [threading.Thread(target=serve), *(threading.Thread(target=use) for _ in range(50))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [b"cba"] * 50
