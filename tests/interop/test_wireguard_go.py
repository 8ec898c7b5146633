"""The tunnel against wireguard-go, in both roles."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.wireguard_capture import captured_handshake, dissect
from tests.interop.wireguard_lab import GO_ENDPOINT, Namespace, Node, WireguardGo, missing
from tests.tunnel.virtual import WALL
from userlan.tunnel.constants import INITIATE_SPACING

pytestmark = [pytest.mark.lab, pytest.mark.interop]


@pytest.fixture(scope="module")
def namespace() -> Iterator[Namespace]:
    reason = missing()
    if reason:
        pytest.skip(reason)
    with Namespace() as opened:
        yield opened


@pytest.fixture(scope="module")
def go(namespace: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WireguardGo]:
    started = WireguardGo(namespace, tmp_path_factory.mktemp("wireguard"))
    yield started
    started.close()


@pytest.fixture
def make_node(namespace: Namespace) -> Iterator[Callable[..., Node]]:
    nodes: list[Node] = []

    def make(**options: float) -> Node:
        nodes.append(Node(namespace, **options))
        return nodes[-1]

    yield make
    for node in nodes:
        node.close()


def start_ping(namespace: Namespace, log: Path, count: int, interval: float, *arguments: str) -> subprocess.Popen[bytes]:
    """The kernel's `ping 25.7.0.2`, until so many are answered: by itself (without ``-w``) it waits for the last one twice as long as the
    others took, or one interval."""
    return namespace.start("ping", "-n", "-w", "50", "-c", str(count), "-i", str(interval), *arguments, "25.7.0.2", log=log)


def kernel_ping(namespace: Namespace, node: Node, tmp_path: Path, count: int, *arguments: str) -> int:
    """How many of the kernel's first pings are answered, while our side is served."""
    log = tmp_path / "ping.log"
    process = start_ping(namespace, log, count, 0.05, *arguments)
    try:
        assert node.run(lambda: process.poll() is not None, 60.0)
    finally:
        process.kill()
        process.wait()
    return answered(log, count)


def answered(log: Path, count: int) -> int:
    """How many of the first pings are."""
    numbers = {int(number) for number in re.findall(r"icmp_seq=([0-9]+) ttl", log.read_text())}
    return len(numbers & {*range(1, count + 1)})


@pytest.mark.parametrize("preshared_key", [bytes(32), os.urandom(32)], ids=["no-psk", "psk"])
def test_they_initiate(
    namespace: Namespace, go: WireguardGo, make_node: Callable[..., Node], tmp_path: Path, preshared_key: bytes
) -> None:
    node = make_node()
    peer = node.device.add_peer(go.public_key, preshared_keys=[preshared_key], stock=True)
    go.set_peer(node.device.public_key, node.port, preshared_key)
    assert kernel_ping(namespace, node, tmp_path, 4) == 4
    assert kernel_ping(namespace, node, tmp_path, 3, "-s", "1392") == 3
    assert [event.initiator for event in node.established] == [False]
    assert peer.endpoint == GO_ENDPOINT
    assert peer.rx_bytes > 3 * 1420


@pytest.mark.parametrize("preshared_key", [bytes(32), os.urandom(32)], ids=["no-psk", "psk"])
def test_we_initiate(go: WireguardGo, make_node: Callable[..., Node], preshared_key: bytes) -> None:
    node = make_node()
    candidates = [b"\x11" * 32, preshared_key]
    node.device.add_peer(go.public_key, preshared_keys=candidates, endpoint=GO_ENDPOINT, stock=True)
    go.set_peer(node.device.public_key, None, preshared_key)
    for sequence in range(20):
        node.ping(go, sequence, 56 + 68 * sequence)
    assert node.run(lambda: len(node.replies) == 20), node.device.counters
    assert node.replies == list(range(20))
    assert [event.initiator for event in node.established] == [True]
    assert go.endpoint_port(node.device.public_key) == node.port


def test_a_node_that_takes_aes_speaks_wireguard_with_it(
    namespace: Namespace, go: WireguardGo, make_node: Callable[..., Node], tmp_path: Path
) -> None:
    node = make_node(aes=True)
    peer = node.device.add_peer(go.public_key, endpoint=GO_ENDPOINT, stock=True)
    node.device.ciphers_told(go.public_key, node.device.ciphers, time.monotonic())
    go.set_peer(node.device.public_key, node.port)
    assert kernel_ping(namespace, node, tmp_path, 4) == 4
    assert peer.cipher(time.monotonic()) == "chacha20-poly1305"
    assert set(node.kinds) <= {1, 2, 4}
    assert node.device.counters["initiations-sent"] <= 1


def test_it_drops_the_types_of_aes_and_goes_on(
    namespace: Namespace, go: WireguardGo, make_node: Callable[..., Node], tmp_path: Path
) -> None:
    """Even where somebody took it for one of our own: nothing is lost, nothing answers."""
    node = make_node(aes=True)
    peer = node.device.add_peer(go.public_key, endpoint=GO_ENDPOINT)
    peer.stock = False
    go.set_peer(node.device.public_key, None)
    node.ping(go, 1)
    assert node.run(lambda: bool(node.established))
    node.device.ciphers_told(go.public_key, node.device.ciphers, time.monotonic())
    before = node.device.counters["initiations-sent"]
    assert node.run(lambda: node.device.counters["initiations-sent"] > before)
    peer.stock = True     # inner checksums as it wants them; the initiation in AES has left
    assert kernel_ping(namespace, node, tmp_path, 10) == 10
    assert set(node.kinds) <= {1, 2, 4}
    assert peer.cipher(time.monotonic()) == "chacha20-poly1305"


def test_a_wrong_preshared_key_fails_and_the_right_one_then_works(
    go: WireguardGo, make_node: Callable[..., Node]
) -> None:
    node = make_node()
    node.device.add_peer(go.public_key, preshared_keys=[b"\x22" * 32], endpoint=GO_ENDPOINT, stock=True)
    go.set_peer(node.device.public_key, None, b"\x33" * 32)
    node.ping(go, 1)
    assert node.run(lambda: node.device.counters["response-unauthenticated"] == 1)
    assert not node.established
    node.device.add_peer(go.public_key, preshared_keys=[b"\x33" * 32], stock=True)
    again = time.monotonic() + INITIATE_SPACING     # since it was answered: how long it lay with the other side does not matter
    assert node.run(lambda: time.monotonic() >= again)
    node.device.initiate(go.public_key, [GO_ENDPOINT], time.monotonic())
    assert node.run(lambda: node.replies == [1])


def test_the_session_is_renewed_while_data_flows(
    namespace: Namespace, go: WireguardGo, make_node: Callable[..., Node], tmp_path: Path
) -> None:
    node = make_node()
    node.device.add_peer(go.public_key, endpoint=GO_ENDPOINT, stock=True)
    go.set_peer(node.device.public_key, node.port)
    log = tmp_path / "ping.log"
    process = start_ping(namespace, log, 60, 0.02)
    for round_number in range(1, 4):
        assert node.run(lambda wanted=round_number: node.answered >= 15 * wanted)  # type: ignore[misc]
        before = len(node.established)
        node.device.initiate(go.public_key, [GO_ENDPOINT], time.monotonic())
        assert node.run(lambda before=before: len(node.established) > before)  # type: ignore[misc]
    assert node.run(lambda: process.poll() is not None)
    assert answered(log, 60) == 60
    assert sum(event.initiator for event in node.established) >= 3


def test_both_initiate_at_once(
    namespace: Namespace, go: WireguardGo, make_node: Callable[..., Node], tmp_path: Path
) -> None:
    node = make_node()
    node.device.add_peer(go.public_key, endpoint=GO_ENDPOINT, stock=True)
    go.set_peer(node.device.public_key, node.port)
    process = start_ping(namespace, tmp_path / "ping.log", 5, 0.05)
    for sequence in range(5):
        node.ping(go, sequence)
        node.run(lambda: False, 0.01)
    assert node.run(lambda: process.poll() is not None and len(node.replies) == 5)
    assert answered(tmp_path / "ping.log", 5) == 5


def test_we_roam_in_the_middle_of_a_flow(
    namespace: Namespace, go: WireguardGo, make_node: Callable[..., Node], tmp_path: Path
) -> None:
    node = make_node()
    node.device.add_peer(go.public_key, endpoint=GO_ENDPOINT, stock=True)
    go.set_peer(node.device.public_key, node.port)
    elsewhere = namespace.udp_socket()      # before the flow begins: making one takes as long as many of its packets
    process = start_ping(namespace, tmp_path / "ping.log", 40, 0.02)
    assert node.run(lambda: node.answered >= 15)
    before = node.port
    node.roam(elsewhere)
    assert node.port != before
    node.ping(go, 1)
    assert node.run(lambda: node.replies == [1])
    assert node.run(lambda: process.poll() is not None)
    assert answered(tmp_path / "ping.log", 40) >= 35
    assert go.endpoint_port(node.device.public_key) == node.port
    assert len(node.established) == 1


def test_they_roam(namespace: Namespace, go: WireguardGo, make_node: Callable[..., Node], tmp_path: Path) -> None:
    node = make_node()
    peer = node.device.add_peer(go.public_key, endpoint=GO_ENDPOINT, stock=True)
    go.set_peer(node.device.public_key, node.port)
    assert kernel_ping(namespace, node, tmp_path, 1) == 1
    namespace.run("wg", "set", "userlan-wg", "listen-port", "51999")
    try:
        assert kernel_ping(namespace, node, tmp_path, 2) == 2
        assert peer.endpoint is not None
        assert peer.endpoint.port == 51999
        assert len(node.established) == 1
    finally:
        namespace.run("wg", "set", "userlan-wg", "listen-port", "51820")


def test_they_accept_our_cookie(
    namespace: Namespace, go: WireguardGo, make_node: Callable[..., Node], tmp_path: Path
) -> None:
    node = make_node(under_load_rate=0.0)
    node.device.add_peer(go.public_key, stock=True)
    go.set_peer(node.device.public_key, node.port)
    assert kernel_ping(namespace, node, tmp_path, 1) == 1
    assert node.device.counters["cookies-sent"] == 1
    assert node.kinds[:2] == [1, 1], "the second initiation brought the cookie"
    assert len(node.established) == 1


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
@pytest.mark.parametrize("preshared_key", [bytes(32), b"\x44" * 32], ids=["no-psk", "psk"])
def test_a_captured_handshake_is_decrypted_by_tshark(tmp_path: Path, preshared_key: bytes) -> None:
    capture, keys, initiator = captured_handshake(tmp_path, preshared_key)
    initiation, response, data = dissect(capture, keys)
    assert initiation == ["1", initiator, str(2**62 + 10 + int(WALL)), "", "192.0.2.1", ""]
    assert response == ["2", "", "", "1", "192.0.2.2", ""]
    assert data == ["4", "", "", "", "192.0.2.1,25.1.0.1", ""]
