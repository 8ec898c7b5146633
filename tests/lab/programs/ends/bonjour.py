"""A service by python-zeroconf, and who browses for it: ``publish NAME TYPE``, ``browse TYPE``, and both at once: ``meet NAME TYPE``."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import threading
from collections.abc import Callable

import ifaddr
from zeroconf import ServiceBrowser, ServiceInfo, ServiceStateChange, Zeroconf

ANSWERED = 30.0
"""Seconds in which a resolved service must answer, and in which a browser waits for one."""


def own_addresses() -> list[str]:
    """IPv4 addresses of this computer that others can reach."""
    found = [address.ip for adapter in ifaddr.get_adapters() for address in adapter.ips if isinstance(address.ip, str)]
    return [address for address in found if not address.startswith("127.")]


def publish(name: str, kind: str) -> None:
    """Offer it, for good."""
    listener = socket.create_server(("0.0.0.0", 0))
    Zeroconf().register_service(service(name, kind, listener, f"{socket.gethostname()}-lab.local."))
    print("registered", flush=True)
    serve(name, listener)


def service(name: str, kind: str, listener: socket.socket, host: str) -> ServiceInfo:
    """At all addresses of this computer."""
    addresses = [socket.inet_aton(address) for address in own_addresses()]
    port = listener.getsockname()[1]
    return ServiceInfo(kind, f"{name}.{kind}", port, properties={"paper": "A4"}, server=host, addresses=addresses)


def serve(name: str, listener: socket.socket) -> None:
    """Say the name to each who connects."""
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


def meet(name: str, kind: str) -> None:
    """Offer, and tell each thing that a browser is told, as it comes: ``added``, ``updated`` and ``removed`` with a service's name, and
    ``connected`` with what an added one says. Until SIGTERM, upon which the service is taken back."""
    ending, querier = threading.Event(), Zeroconf()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    listener = socket.create_server(("0.0.0.0", 0))
    threading.Thread(target=serve, args=(name, listener), daemon=True).start()

    def connect(found: str) -> None:
        info = querier.get_service_info(kind, found, 20_000)
        for address in [] if info is None else info.parsed_addresses():
            assert info is not None
            with contextlib.suppress(OSError), socket.create_connection((address, info.port or 0), 5) as connection:
                print(f"connected {found}: {connection.makefile('rb').read().decode()}", flush=True)
                return
        print(f"unreachable {found}: {info}", flush=True)

    def heard(service_type: str, name: str, state_change: ServiceStateChange, **more: object) -> None:
        print(f"{state_change.name.lower()} {name}", flush=True)
        if state_change is ServiceStateChange.Added:
            threading.Thread(target=connect, args=(name,), daemon=True).start()

    ServiceBrowser(querier, kind, handlers=[heard])
    querier.register_service(service(name, kind, listener, f"computer-of-{name}.local."))
    print("registered", flush=True)
    ending.wait()
    querier.close()


if __name__ == "__main__":
    commands: dict[str, Callable[..., None]] = {"publish": publish, "browse": browse, "meet": meet}
    commands[sys.argv[1]](*sys.argv[2:])
