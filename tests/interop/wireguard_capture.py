"""A handshake and some data between two of our devices as a capture file, and what tshark makes of it with the keys."""

from __future__ import annotations

import base64
import struct
import subprocess
from pathlib import Path

from tests.tunnel.virtual import WALL, cut_up, endpoint, entropy, packet
from userlan.tunnel.device import Device
from userlan.tunnel.primitives import public_key
from userlan.wire.superpacket import cut
from userlan.wire.udp import Datagram, build

_OUTER = {1: bytes((192, 0, 2, 1)), 2: bytes((192, 0, 2, 2))}
_LINKTYPE_RAW = 101
_FIELDS = ["wg.type", "wg.static", "wg.timestamp.tai64_label", "wg.handshake_ok", "ip.src", "wg.decryption_error"]


class RecordingEntropy:
    """Seeded entropy that remembers every 32 bytes it gave: the ephemeral keys are among them."""

    def __init__(self, seed: str) -> None:
        self._source = entropy(seed)
        self.keys: list[bytes] = []

    def __call__(self, size: int) -> bytes:
        data = self._source(size)
        if size == 32:
            self.keys.append(data)
        return data


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode()


def captured_handshake(folder: Path, preshared_key: bytes) -> tuple[Path, Path, str]:
    """The capture, the key log for tshark, and the initiator's public key as tshark prints it."""
    source_a, source_b = RecordingEntropy("capture a"), RecordingEntropy("capture b")
    private_a, private_b = source_a(32), source_b(32)
    a = Device(private_a, entropy=source_a, now=0.0, wall_offset=WALL)
    b = Device(private_b, entropy=source_b, now=0.0, wall_offset=WALL)
    a.add_peer(b.public_key, preshared_keys=[preshared_key], endpoint=endpoint(2))
    b.add_peer(a.public_key, preshared_keys=[preshared_key])
    a.send(b.public_key, packet(b"there"), 0.0)
    outer: list[bytes] = []
    for sender, receiver, number in [(a, b, 1), (b, a, 2), (a, b, 1)]:
        for burst in sender.datagrams(0.0):
            for datagram in cut_up(burst):
                carried = build(Datagram(51820, 51820, datagram), _OUTER[number], _OUTER[3 - number])
                outer += cut(carried, True)
                receiver.receive(datagram, 0, endpoint(number), 0.0)
    capture, keys = folder / "tunnel.pcap", folder / "keys"
    with capture.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, _LINKTYPE_RAW))
        for one in outer:
            file.write(struct.pack("<IIII", int(WALL), 0, len(one), len(one)) + one)
    lines = [f"LOCAL_STATIC_PRIVATE_KEY = {_text(private_a)}", f"REMOTE_STATIC_PUBLIC_KEY = {_text(b.public_key)}"]
    for key in source_a.keys[1:]:
        lines += [f"LOCAL_EPHEMERAL_PRIVATE_KEY = {_text(key)}", f"PRESHARED_KEY = {_text(preshared_key)}"]
    keys.write_text("\n".join(lines) + "\n")
    return capture, keys, _text(public_key(private_a))


def dissect(capture: Path, keys: Path) -> list[list[str]]:
    """A row a datagram: type, static key, timestamp label, whether the response fits, source addresses, errors."""
    command = ["tshark", "-r", str(capture), "-o", f"wg.keylog_file:{keys}", "-T", "fields", "-E", "separator=|"]
    for field in _FIELDS:
        command += ["-e", field]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    return [line.split("|") for line in done.stdout.splitlines()]
