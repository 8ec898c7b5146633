"""fastd with its fastest authenticated method, salsa2012+umac."""

from __future__ import annotations

import stat

from tests.bench.stage import WIRE_A, WIRE_B
from tests.bench.systems.base import INTERFACES, TunSystem, output_of
from tests.lab.network import Namespace

PORT = 10_000
MTU = 1426
"""1500 less IPv4, UDP, fastd's 24 and an Ethernet header of 14, rounded as its documentation does."""


class Fastd(TunSystem):
    """A TAP on each side."""

    name = "fastd 22"
    program = "fastd"
    package = "Debian's package fastd"

    def prepare(self) -> None:
        secrets = [output_of([self.path(), "--generate-key", "--machine-readable"]) for _ in range(2)]
        publics = []
        for index, secret in enumerate(secrets):
            alone = self.folder / f"secret{index}.conf"
            alone.write_text(f'secret "{secret}";\n')
            publics.append(output_of([self.path(), "--show-key", "--machine-readable", "-c", str(alone)]))
        for index, secret in enumerate(secrets):
            own, other = ((WIRE_A, WIRE_B), (WIRE_B, WIRE_A))[index]
            file = self.folder / f"{index}.conf"
            file.write_text(
                f'log level warn;\nmode tap;\ninterface "{INTERFACES[index]}";\nmethod "salsa2012+umac";\nmtu {MTU};\n'
                f'bind {own}:{PORT};\nsecret "{secret}";\n'
                f'peer "other" {{ key "{publics[1 - index]}"; remote {other}:{PORT}; }}\n'
            )
            file.chmod(stat.S_IRUSR | stat.S_IWUSR)

    def launch(self, index: int, namespace: Namespace) -> None:
        self.daemon(namespace, self.path(), "-c", str(self.folder / f"{index}.conf"))
        self.interface(index, namespace)
