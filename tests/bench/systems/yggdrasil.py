"""yggdrasil 0.5 over its TCP underlay, by its own IPv6 addresses."""

from __future__ import annotations

import json

from tests.bench.stage import WIRE_A
from tests.bench.systems.base import INTERFACES, TunSystem, output_of
from tests.lab.network import Namespace

PORT = 12345


class Yggdrasil(TunSystem):
    """Two routers, B dials A; MTU 65535 as it comes."""

    name = "yggdrasil 0.5"
    program = "yggdrasil-0.5"
    package = "`python -m tests.bench.peers --install`"

    def prepare(self) -> None:
        found = []
        for index, interface in enumerate(INTERFACES):
            configuration = json.loads(output_of([self.path(), "-genconf", "-json"]))
            configuration |= {"IfName": interface, "MulticastInterfaces": [], "AdminListen": "none"}
            configuration |= {"Listen": [f"tcp://{WIRE_A}:{PORT}"]} if index == 0 else {"Peers": [f"tcp://{WIRE_A}:{PORT}"]}
            file = self.folder / f"{index}.json"
            file.write_text(json.dumps(configuration))
            found.append(output_of([self.path(), "-useconffile", str(file), "-address"]))
        self._found = (found[0], found[1])

    def launch(self, index: int, namespace: Namespace) -> None:
        self.daemon(namespace, self.path(), "-useconffile", str(self.folder / f"{index}.json"), "-loglevel", "error")
        self.interface(index, namespace, up=False)

    @property
    def address(self) -> str:
        return self._found[0]
