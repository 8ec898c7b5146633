"""tinc 1.0 in router mode."""

from __future__ import annotations

from pathlib import Path

from tests.bench.stage import WIRE_A
from tests.bench.systems.base import INTERFACES, TunSystem, output_of
from tests.lab.network import Namespace


class Tinc(TunSystem):
    """B connects to A; RSA keys, its own defaults of cipher and digest."""

    name = "tinc 1.0"
    program = "tincd"
    package = "Debian's package tinc"

    def prepare(self) -> None:
        folders = [self.folder / name for name in ("a", "b")]
        for index, folder in enumerate(folders):
            (folder / "hosts").mkdir(parents=True)
            connect = "ConnectTo = a\n" if index else ""
            (folder / "tinc.conf").write_text(f"Name = {folder.name}\nInterface = {INTERFACES[index]}\nAddressFamily = ipv4\n{connect}")
            where = "" if index else f"Address = {WIRE_A}\n"
            (folder / "hosts" / folder.name).write_text(f"{where}Subnet = {self.addresses[index]}/32\n")
            output_of([self.path(), "-c", str(folder), "-K", "2048"])
        for own, other in (folders, folders[::-1]):
            (own / "hosts" / other.name).write_text((other / "hosts" / other.name).read_text())

    def launch(self, index: int, namespace: Namespace) -> None:
        folder = self.folder / "ab"[index]
        self.daemon(namespace, self.path(), "-c", str(folder), "-D", f"--pidfile={Path(folder, 'pid')}")
        self.interface(index, namespace)
