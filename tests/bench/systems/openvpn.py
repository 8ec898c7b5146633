"""openvpn 2.6, one client and one server without a server's machinery: peer to peer with TLS."""

from __future__ import annotations

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.bench.stage import WIRE_A, WIRE_B
from tests.bench.systems.base import INTERFACES, TunSystem
from tests.lab.network import Namespace

PORT = "1194"


class Openvpn(TunSystem):
    """A TUN on each side, UDP, certificates known by their fingerprints, AES-256-GCM or what the two agree on."""

    name = "openvpn 2.6"
    program = "openvpn"
    package = "Debian's package openvpn"

    def prepare(self) -> None:
        self._prints = [self_signed(self.folder, f"node{index}") for index in range(2)]

    def launch(self, index: int, namespace: Namespace) -> None:
        other = 1 - index
        role = ["--tls-client"] if index else ["--tls-server", "--dh", "none"]
        self.daemon(
            namespace, self.path(), "--mode", "p2p", *role, "--proto", "udp", "--port", PORT, "--remote", (WIRE_A, WIRE_B)[other],
            "--dev", INTERFACES[index], "--dev-type", "tun", "--disable-dco", "--verb", "1", "--ifconfig", self.addresses[index],
            self.addresses[other], "--cert", str(self.folder / f"node{index}.crt"), "--key", str(self.folder / f"node{index}.key"),
            "--peer-fingerprint", self._prints[other],
        )
        self.interface(index, namespace, up=False)


def self_signed(folder: Path, name: str) -> str:
    """A key and a certificate of a day, ``NAME.key`` and ``NAME.crt``; its SHA-256 fingerprint as openvpn writes it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / f"{name}.key"
    path.write_bytes(private)
    path.chmod(0o600)
    (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()
