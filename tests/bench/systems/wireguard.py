"""wireguard-go of two generations: packets one by one (2022), and with TUN and UDP offloads (2023)."""

from __future__ import annotations

from tests.bench.peers import Peers
from tests.bench.stage import WIRE_A, WIRE_B
from tests.bench.systems.base import INTERFACES, TunSystem, absent, output_of
from tests.lab.network import Namespace

PORT = "51820"
OWN_RUN = 'mount -t tmpfs none /run && exec "$@"'
"""Where ``wg`` finds the daemon is a folder that the system keeps for root."""


class Wireguard2022(TunSystem):
    """Debian 12's."""

    name = "wireguard-go 2022"
    program = "wireguard-go-2022"
    package = "Debian 12's package wireguard-go"

    @classmethod
    def missing(cls, peers: Peers) -> str | None:
        if absent("wg"):
            return "the program wg is missing: Debian's package wireguard-tools"
        return super().missing(peers)

    def prepare(self) -> None:
        self._keys = [output_of(["wg", "genkey"]) for _ in range(2)]
        self._publics = [output_of(["wg", "pubkey"], key) for key in self._keys]
        for index, key in enumerate(self._keys):
            (self.folder / f"key{index}").write_text(key)

    def launch(self, index: int, namespace: Namespace) -> None:
        interface, other = INTERFACES[index], 1 - index
        program = ("unshare", "-m", "sh", "-c", OWN_RUN, "sh", self.path(), "-f", interface)
        self.daemon(namespace, *program, environment={"WG_PROCESS_FOREGROUND": "1", "LOG_LEVEL": "error"})
        self.interface(index, namespace, up=False)
        namespace.through("nsenter", "-m", "-t", str(self.processes[-1].pid)).run(
            "wg", "set", interface, "listen-port", PORT, "private-key", str(self.folder / f"key{index}"), "peer", self._publics[other],
            "allowed-ips", f"{self.addresses[other]}/32", "endpoint", f"{(WIRE_A, WIRE_B)[other]}:{PORT}",
        )
        self.interface(index, namespace, mtu=1420)


class Wireguard2023(Wireguard2022):
    """Debian 13's."""

    name = "wireguard-go 2023"
    program = "wireguard-go-2023"
    package = "`python -m tests.bench.peers --install`"
