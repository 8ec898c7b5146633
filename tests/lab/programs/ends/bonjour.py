"""A service by python-zeroconf, and who browses for it: ``publish NAME TYPE``, ``browse TYPE``."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading

import ifaddr
from zeroconf import ServiceBrowser, ServiceInfo, ServiceStateChange, Zeroconf

ANSWERED = 30.0
"""Seconds in which a resolved service must answer, and in which a browser waits for one."""


def own_addresses() -> list[str]:
    """IPv4 addresses of this computer that others can reach."""
    found = [address.ip for adapter in ifaddr.get_adapters() for address in adapter.ips if isinstance(address.ip, str)]
    return [address for address in found if not address.startswith("127.")]


def publish(name: str, kind: str) -> None:
    """Say the name to each who connects."""
    listener = socket.create_server(("0.0.0.0", 0))
    addresses = [socket.inet_aton(address) for address in own_addresses()]
    port = listener.getsockname()[1]
    info = ServiceInfo(
        kind, f"{name}.{kind}", port, properties={"paper": "A4"}, server=f"{socket.gethostname()}-lab.local.", addresses=addresses
    )
    Zeroconf().register_service(info)
    print("registered", flush=True)
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(f"this is {name}".encode())


def browse(kind: str) -> None:
    """Print the first service that answers, and what it says."""
    querier, done = Zeroconf(), threading.Event()
    lines: list[str] = []

    def resolve(name: str) -> None:
        info = querier.get_service_info(kind, name, 5000)
        if info is None or info.port is None or done.is_set():
            return
        txt = " ".join(f"{key.decode()}={(value or b'').decode()}" for key, value in info.properties.items())
        for address in info.parsed_addresses():
            with contextlib.suppress(OSError), socket.create_connection((address, info.port), 5) as connection:
                told = connection.makefile("rb").read().decode()
                lines[:] = [f"{name} at {info.server} {address}:{info.port} {txt}", f"connected: {told!r}"]
                done.set()
                return

    def heard(service_type: str, name: str, state_change: ServiceStateChange, **more: object) -> None:
        if state_change in (ServiceStateChange.Added, ServiceStateChange.Updated):
            threading.Thread(target=resolve, args=(name,), daemon=True).start()

    ServiceBrowser(querier, kind, handlers=[heard])
    answered = done.wait(ANSWERED)
    querier.close()
    if not answered:
        raise SystemExit(f"no {kind} that answers within {ANSWERED:.0f} s")
    print("\n".join(lines))


if __name__ == "__main__":
    if sys.argv[1] == "publish":
        publish(*sys.argv[2:])
    else:
        browse(*sys.argv[2:])
