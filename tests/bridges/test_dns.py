"""The resolver by real sockets: dig's, by UDP and TCP, and what becomes of those who mean no good."""

from __future__ import annotations

import contextlib
import errno
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import CannotListenError

from bridges.dns import DnsBridge, DnsOptions
from bridges.dns_server import MAX_ASKED, MAX_CLIENTS, MAX_PENDING
from bridges.dns_upstream import NoAnswerError, SystemServers, Upstream, parse_server
from bridges.listen import PORTS_TRIED
from tests.bridges.conftest import until
from tests.bridges.harness import WAIT, Loop, MemoryStore, dial, read_exactly
from tests.bridges.names import named_lan
from tests.bridges.test_dns_zone import OPT, Heard, wire
from userlan.driver.bridge import CommandError

Address = tuple[str, int]


@pytest.fixture
def start(loop: Loop) -> Iterator[Callable[..., DnsBridge]]:
    """Starts a bridge with given options, on a free port unless they say otherwise."""
    started: list[DnsBridge] = []

    def begin(**options: Any) -> DnsBridge:
        store: Any = MemoryStore()
        bridge = DnsBridge(named_lan(loop.reactor), DnsOptions(**{"listen": "127.0.0.1:0", **options}), store)
        started.append(bridge)
        loop.call(bridge.start)
        return bridge

    yield begin
    for bridge in started:
        loop.call(bridge.stop)
        loop.call(bridge.stop)


def address(bridge: DnsBridge) -> Address:
    host, _, port = str(bridge.status()).rpartition(":")
    return host, int(port)


def ask_udp(server: Address, query: bytes, wait: float = WAIT) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(wait)
        client.connect(server)
        client.send(query)
        return client.recv(65_535)


def ask_tcp(connection: socket.socket, *queries: bytes) -> list[bytes]:
    connection.sendall(b"".join(len(query).to_bytes(2, "big") + query for query in queries))
    return [read_exactly(connection, int.from_bytes(read_exactly(connection, 2), "big")) for _ in queries]


# ---------------------------------------------------------------------- dig


def dig(server: Address, *words: str) -> str:
    if shutil.which("dig") is None:
        pytest.fail("the program dig is missing")
    command = ["dig", f"@{server[0]}", "-p", str(server[1]), "+tries=1", "+time=5", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout


@pytest.mark.parametrize("way", ["+notcp", "+tcp"])
def test_dig(start: Callable[..., DnsBridge], way: str) -> None:
    server = address(start())
    assert dig(server, way, "+short", "anna.home.internal") == "25.1.0.2\n"
    assert dig(server, way, "+short", "anna.home.internal", "AAAA").startswith("fd75:6c61:6e00:")
    assert dig(server, way, "+short", "-x", "25.1.0.2") == "anna.home.internal.\n"
    told = dig(server, way, "nobody.home.internal")
    assert "status: NXDOMAIN" in told
    assert "EDNS: version: 0, flags:; udp: 1232" in told
    assert "status: REFUSED" in dig(server, way, "example.com")
    assert "status: NOERROR" in dig(server, way, "+noedns", "anna.home.internal", "MX")
    assert "status: NOTIMP" in dig(server, way, "+opcode=NOTIFY", "internal", "SOA")
    assert "status: BADVERS" in dig(server, way, "+edns=1", "+noednsneg", "anna.home.internal")
    assert "WARNING" not in dig(server, way, "+cookie", "+dnssec", "+norecurse", "anna.home.internal")


# ---------------------------------------------------------------------- ports


def test_nodes_of_one_computer_take_one_port_after_the_other(start: Callable[..., DnsBridge], loop: Loop) -> None:
    first, second = (start(listen="127.0.0.1:5354") for _ in range(2))
    assert address(first) != address(second)
    for bridge in (first, second):
        assert Heard(ask_udp(address(bridge), wire("anna"))).values == ["25.1.0.2"]
        assert bridge.status() == loop.call(bridge.commands()["dns"], {})["listen"]
        assert 5354 <= address(bridge)[1] < 5354 + PORTS_TRIED
    taken = "{}:{}".format(*address(first))
    if taken == "127.0.0.1:5354":
        return      # what was meant by the default is not told from what was asked for
    with pytest.raises(CommandError, match="in use"):
        start(listen=taken)


def test_a_port_that_was_asked_for_is_had_or_refused(start: Callable[..., DnsBridge]) -> None:
    bridge = start()
    with pytest.raises(CommandError, match=r"dns: .* is in use by another program; set dns\.listen"):
        start(listen="{}:{}".format(*address(bridge)))
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as other:
            other.bind(("127.0.0.1", 0))
            with pytest.raises(CommandError, match="in use"):
                start(listen=f"127.0.0.1:{other.getsockname()[1]}")


def test_no_server(start: Callable[..., DnsBridge]) -> None:
    bridge = start(listen="none")
    assert bridge.status() is None
    with pytest.raises(CommandError, match="not running"):
        bridge.commands()["dns"]({})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"listen": "0.0.0.0:5354"}, "listen: 0.0.0.0 tells others"),
        ({"listen": "nas:53"}, "listen: 'nas' is not"),
        ({"listen": "127.0.0.1"}, "listen: .*names no port"),
        ({"upstream": "google"}, "upstream: 'google'"),
        ({"upstream": "1.1.1.1:0"}, "upstream: "),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        DnsOptions(**options)


def test_servers_as_they_are_written() -> None:
    assert parse_server("1.1.1.1") == ("1.1.1.1", 53)
    assert parse_server("127.0.0.1:5300") == ("127.0.0.1", 5300)
    assert parse_server("2001:db8::1") == ("2001:db8::1", 53)
    assert parse_server("[2001:db8::1]:5300") == ("2001:db8::1", 5300)
    assert DnsOptions(listen="0.0.0.0:53", unprotected=True).upstream == "none"


# ---------------------------------------------------------------------- TCP


def test_many_queries_of_one_connection(start: Callable[..., DnsBridge]) -> None:
    """RFC 7766 6.2.1: a client may ask again before it is answered."""
    server = address(start())
    with dial(server) as client:
        queries = [wire("anna"), wire("nobody.internal"), wire("example.com")] * 40
        answers = [Heard(answer).code for answer in ask_tcp(client, *queries)]
        assert answers == [0, 3, 5] * 40
        for octet in len(wire("anna")).to_bytes(2, "big") + wire("anna"):
            client.sendall(bytes([octet]))
        assert Heard(read_exactly(client, int.from_bytes(read_exactly(client, 2), "big"))).values == ["25.1.0.2"]
        client.sendall(b"\0\x0c" + wire("anna", flags=0x8100)[:12])
        assert Heard(ask_tcp(client, wire("anna"))[0]).values == ["25.1.0.2"], "what is no query is not answered, and holds up nothing"


@pytest.mark.parametrize("head", [b"\0\0", b"\xff\xff"])
def test_a_message_that_is_none_ends_the_connection(start: Callable[..., DnsBridge], head: bytes) -> None:
    with dial(address(start())) as client:
        client.sendall(head)
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_idle_connections_end_and_are_counted(start: Callable[..., DnsBridge], loop: Loop) -> None:
    bridge = start()
    bridge._clients.idle = 0.2
    with dial(address(bridge)) as client, pytest.raises(ConnectionResetError):
        client.recv(1)
    bridge._clients.idle = 60.0
    clients = [dial(address(bridge)) for _ in range(MAX_CLIENTS)]
    until(lambda: len(bridge._clients.clients) == MAX_CLIENTS, loop)
    with dial(address(bridge)) as late:
        assert late.recv(1) == b""
    for client in clients:
        client.close()
    until(lambda: not bridge._clients.clients, loop)
    assert bridge.server.counters["clients-full"] == bridge.server.counters["idle"] == 1


def test_who_does_not_read_is_not_read_from(start: Callable[..., DnsBridge], loop: Loop) -> None:
    bridge = start()
    query = wire("anna", 255)
    block = (len(query).to_bytes(2, "big") + query) * 1000
    with dial(address(bridge), receive_buffer=4096) as client:
        until(lambda: len(bridge._clients.clients) == 1, loop)
        (stream,) = bridge._clients.clients
        client.settimeout(0.5)
        sent, give_up = 0, time.monotonic() + WAIT
        while sent < 1 << 26 and time.monotonic() < give_up:
            try:
                sent += client.send(block)
            except TimeoutError:        # the server may only have been busy with something else
                if stream._full:
                    break
        assert stream._full
        assert len(stream._received) < 1 << 17
        assert sent < 1 << 26


# ---------------------------------------------------------------------- upstream


def one_port() -> tuple[socket.socket, socket.socket]:
    """Sockets of UDP and TCP with the same number: a port that is free for one may be taken for the other."""
    for _ in range(100):
        udp, tcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket()
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            udp.bind(("127.0.0.1", 0))
            tcp.bind(udp.getsockname())
        except OSError:
            udp.close()
            tcp.close()
        else:
            return udp, tcp
    raise AssertionError("no port was free for both")


class Resolver:
    """A resolver with one answer, by UDP and TCP on one port; ``silent``, ``code`` and ``extra`` change that."""

    def __init__(self) -> None:
        self.udp, self.tcp = one_port()
        self.address: Address = self.udp.getsockname()
        self.tcp.listen(16)
        self.silent, self.code, self.extra, self.forge = False, 0, b"", False
        self.asked: list[bytes] = []
        self.held: list[tuple[bytes, Address]] = []
        """Answers that were not given, being silent."""
        self._threads = [threading.Thread(target=work) for work in (self._datagrams, self._streams)]
        for thread in self._threads:
            thread.start()

    def answer(self, query: bytes) -> bytes:
        self.asked.append(query)
        record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + bytes((192, 0, 2, 7))
        return query[:2] + struct.pack("!5H", 0x8180 | self.code, 1, 1, 0, 0) + query[12 : query.index(b"\0", 12) + 5] + record + self.extra

    def _datagrams(self) -> None:
        while True:
            query, source = self.udp.recvfrom(65_535)
            if not query:
                return
            if self.forge:
                wrong = self.answer(query)
                self.udp.sendto(bytes([wrong[0] ^ 1]) + wrong[1:], source)
                self.udp.sendto(wrong[:13] + bytes([wrong[13] ^ 1]) + wrong[14:], source)
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                    stranger.sendto(wrong[:-1] + b"\x66", source)
            if self.silent:
                self.held.append((self.answer(query), source))
            else:
                self.udp.sendto(self.answer(query), source)

    def _streams(self) -> None:
        while True:
            connection, _ = self.tcp.accept()
            with connection:
                connection.settimeout(WAIT)
                size = int.from_bytes(read_exactly(connection, 2), "big")
                if not size:
                    return
                answer = self.answer(read_exactly(connection, size))
                connection.sendall(len(answer).to_bytes(2, "big") + answer)

    def close(self) -> None:
        with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as last:
            last.sendto(b"", self.address)
        dial(self.address).close()
        for thread in self._threads:
            thread.join()
        self.udp.close()
        self.tcp.close()


@pytest.fixture
def resolver() -> Iterator[Resolver]:
    one = Resolver()
    yield one
    one.close()


def upstream_of(resolver: Resolver) -> str:
    return "{}:{}".format(*resolver.address)


def test_other_names_are_asked_of_an_upstream(start: Callable[..., DnsBridge], resolver: Resolver) -> None:
    server = address(start(upstream=upstream_of(resolver)))
    heard = Heard(ask_udp(server, wire("example.com", additional=OPT)))
    assert (heard.id, heard.code, heard.values) == (0xBEEF, 0, ["192.0.2.7"])
    with dial(server) as client:
        assert Heard(ask_tcp(client, wire("example.com"))[0]).values == ["192.0.2.7"]
    assert [query[12:] for query in resolver.asked] == [wire("example.com", additional=OPT)[12:], wire("example.com")[12:]]
    assert len({query[:2] for query in resolver.asked} | {b"\xbe\xef"}) == 3, "numbers are our own (RFC 5452 9.2)"
    assert "192.0.2.7" in dig(server, "+short", "example.com")


@pytest.mark.parametrize("name", ["anna", "nobody.internal", "2.0.1.25.in-addr.arpa", "99.0.1.25.in-addr.arpa", "internal"])
def test_the_lans_names_are_asked_of_nobody(start: Callable[..., DnsBridge], resolver: Resolver, name: str) -> None:
    heard = Heard(ask_udp(address(start(upstream=upstream_of(resolver))), wire(name)))
    assert heard.code in (0, 3)
    assert heard.ra
    assert not resolver.asked


def test_a_long_answer_is_cut_for_udp(start: Callable[..., DnsBridge], resolver: Resolver) -> None:
    server = address(start(upstream=upstream_of(resolver)))
    resolver.extra = bytes(500)
    answer = ask_udp(server, wire("example.com"))
    assert (answer[2] & 2, Heard(answer).records) == (2, [])
    with dial(server) as client:
        assert len(ask_tcp(client, wire("example.com"))[0]) > 512


def test_answers_of_strangers_are_no_answers(start: Callable[..., DnsBridge], resolver: Resolver) -> None:
    """RFC 5452 9.1: another number, another question, another sender."""
    resolver.forge = True
    assert Heard(ask_udp(address(start(upstream=upstream_of(resolver))), wire("example.com"))).values == ["192.0.2.7"]


def test_the_next_server_is_asked(loop: Loop, resolver: Resolver) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        for one in (silent, gone):
            one.bind(("127.0.0.1", 0))
        closed = gone.getsockname()
        gone.close()
        servers = [closed, silent.getsockname(), resolver.address]
        upstream = Upstream(loop.reactor, lambda: servers, patience=2.0)
        assert Heard(loop.call(upstream.ask, wire("example.com"), False)).values == ["192.0.2.7"]
        servers = [closed, resolver.address]
        assert Heard(loop.call(upstream.ask, wire("example.com"), True)).values == ["192.0.2.7"]
        for stream in (False, True):
            servers = [closed]
            with pytest.raises(NoAnswerError):
                loop.call(upstream.ask, wire("example.com"), stream)
        servers = []
        with pytest.raises(NoAnswerError):
            loop.call(upstream.ask, wire("example.com"), False)
        resolver.code, servers = 2, [resolver.address, closed]
        assert Heard(loop.call(upstream.ask, wire("example.com"), False)).code == 2, "a failure is better than nothing"


def test_without_any_answer_it_is_a_failure(start: Callable[..., DnsBridge]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        port = gone.getsockname()[1]
    heard = Heard(ask_udp(address(start(upstream=f"127.0.0.1:{port}")), wire("example.com")))
    assert (heard.id, heard.code) == (0xBEEF, 2)


def test_when_no_socket_can_be_had_it_is_a_failure_and_no_query_waits_for_ever(
    start: Callable[..., DnsBridge], resolver: Resolver, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that opens many connections takes the descriptors: names are asked for again afterwards."""
    bridge = start(upstream=upstream_of(resolver))

    def full(*arguments: object) -> None:
        raise CannotListenError("", 0, OSError(errno.EMFILE, "too many open files"))  # type: ignore[no-untyped-call]

    with monkeypatch.context() as without:
        without.setattr(loop.reactor, "listenUDP", full)
        assert Heard(ask_udp(address(bridge), wire("example.com"))).code == 2
    assert loop.call(lambda: bridge.server.pending) == 0
    assert Heard(ask_udp(address(bridge), wire("example.com"))).values == ["192.0.2.7"]


def test_no_more_than_so_many_wait(start: Callable[..., DnsBridge], resolver: Resolver, loop: Loop) -> None:
    """From one socket that floods; who asks for what is the LAN's own is answered all the same."""
    resolver.silent = True
    bridge = start(upstream=upstream_of(resolver))
    upstream: Any = bridge.server.upstream
    upstream._patience = WAIT / 2      # none of them is given up while others are still being asked
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(WAIT)
        client.connect(address(bridge))
        for number in range(MAX_PENDING + 1):
            client.send(wire(f"{number}.example.com"))
            if number % 32 == 0:
                until(lambda number=number: bridge.server.pending > min(number, MAX_PENDING - 1), loop)  # type: ignore[misc]
        assert Heard(client.recv(65_535)).code == 2
        client.send(wire("anna"))
        assert Heard(client.recv(65_535)).values == ["25.1.0.2"]
    assert bridge.server.counters["upstream-full"] == 1
    with dial(address(bridge)) as stream:
        stream.sendall((len(wire("anna")).to_bytes(2, "big") + wire("anna")) * (MAX_ASKED * 4))
        read_exactly(stream, 2)
    until(lambda: len(resolver.held) == MAX_PENDING, loop)
    for answer, source in resolver.held:
        resolver.udp.sendto(answer, source)
    until(lambda: not bridge.server.pending, loop)


def test_we_do_not_ask_ourselves(start: Callable[..., DnsBridge], tmp_path: Path) -> None:
    """Where this is the computer's own resolver."""
    bridge = start(upstream="system")
    assert not bridge._is_own("127.0.0.1")
    bridge._port = 53
    assert bridge._is_own("127.0.0.1")
    assert not bridge._is_own("192.0.2.1")


def test_this_computers_resolvers(tmp_path: Path) -> None:
    """resolv.conf(5); those that are the LAN's would ask us."""
    path = tmp_path / "resolv.conf"
    servers = SystemServers(lambda host: host.startswith("fd75:"), path)
    assert list(servers()) == []
    hosts = "fd75:6c61:6e00::53", "192.0.2.1", "", "fe80::1%eth0"
    path.write_text("\n".join(["# nameserver 9.9.9.9", "search x", *(f"nameserver {host}" for host in hosts)]))
    assert list(servers()) == [("192.0.2.1", 53), ("fe80::1%eth0", 53)]
    path.with_name("new").write_text("nameserver 192.0.2.2\n")
    path.with_name("new").rename(path)
    assert list(servers()) == [("192.0.2.2", 53)]
