"""nebula: A is the lighthouse."""

from __future__ import annotations

import json

from tests.bench.peers import Peers
from tests.bench.stage import WIRE_A
from tests.bench.systems.base import INTERFACES, TunSystem, absent, output_of
from tests.lab.network import Namespace

PORT = 4242


class Nebula(TunSystem):
    """Certificates of one authority, everything allowed by its firewall."""

    name = "nebula"
    program = "nebula"
    package = "Debian's package nebula"

    @classmethod
    def missing(cls, peers: Peers) -> str | None:
        if absent("nebula-cert"):
            return "the program nebula-cert is missing: Debian's package nebula"
        return super().missing(peers)

    def prepare(self) -> None:
        authority = [str(self.folder / "ca.crt"), str(self.folder / "ca.key")]
        output_of(["nebula-cert", "ca", "-name", "bench", "-out-crt", authority[0], "-out-key", authority[1]])
        for index in range(2):
            pair = [str(self.folder / f"{index}.crt"), str(self.folder / f"{index}.key")]
            output_of([
                "nebula-cert", "sign", "-name", f"node{index}", "-ip", f"{self.addresses[index]}/24", "-ca-crt", authority[0],
                "-ca-key", authority[1], "-out-crt", pair[0], "-out-key", pair[1],
            ])
            everything = [{"port": "any", "proto": "any", "host": "any"}]
            (self.folder / f"{index}.json").write_text(json.dumps({          # its YAML takes JSON
                "pki": {"ca": authority[0], "cert": pair[0], "key": pair[1]},
                "static_host_map": {self.addresses[0]: [f"{WIRE_A}:{PORT}"]},
                "lighthouse": {"am_lighthouse": index == 0, "hosts": [] if index == 0 else [self.addresses[0]]},
                "listen": {"host": "0.0.0.0", "port": PORT},
                "tun": {"dev": INTERFACES[index]},
                "logging": {"level": "error"},
                "firewall": {"outbound": everything, "inbound": everything},
            }))

    def launch(self, index: int, namespace: Namespace) -> None:
        self.daemon(namespace, self.path(), "-config", str(self.folder / f"{index}.json"))
        self.interface(index, namespace, up=False)
