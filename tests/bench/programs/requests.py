"""Small HTTP requests one after the other, each over a connection of its own; prints the seconds of each as JSON.

A client as small as can be, so that the system's part of the time shows; through a SOCKS5 proxy by name where it is given one. Exit 1
when an answer is not the file.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import time


def fetch(host: str, port: int, path: str, socks: tuple[str, int] | None) -> bytes:
    """One request; the body."""
    connection = socket.create_connection(socks or (host, port), timeout=20)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if socks is not None:
            through(connection, host, port)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while part := connection.recv(65536):
            answer += part
    finally:
        connection.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        sys.exit(f"not what was asked for: {head[:60]!r}")
    return body


def through(connection: socket.socket, host: str, port: int) -> None:
    """Ask a SOCKS5 proxy (RFC 1928) to connect."""
    connection.sendall(b"\5\1\0")
    if connection.recv(2) != b"\5\0":
        sys.exit("the proxy wants a method that was not offered")
    connection.sendall(b"\5\1\0\3" + bytes([len(host)]) + host.encode() + port.to_bytes(2, "big"))
    answer = connection.recv(10)
    if answer[1:2] != b"\0":
        sys.exit(f"the proxy refused: {answer!r}")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("path")
    parser.add_argument("--socks", help="HOST:PORT")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--size", type=int, required=True, help="octets that every answer must have")
    options = parser.parse_args()
    proxy_host, _, proxy_port = (options.socks or "").rpartition(":")
    socks = (proxy_host, int(proxy_port)) if options.socks else None
    fetch(options.host, options.port, options.path, socks)      # the first one warms up whatever there is
    times = []
    for _ in range(options.count):
        begin = time.perf_counter()
        body = fetch(options.host, options.port, options.path, socks)
        times.append(time.perf_counter() - begin)
        if len(body) != options.size:
            sys.exit(f"{len(body)} octets instead of {options.size}")
    print(json.dumps({"seconds": times}))


if __name__ == "__main__":
    main()
