"""curl, which nobody here wrote, through the proxy in each of its dialects."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bridges.proxy import ProxyOptions
from tests.bridges.harness import LAPTOP, NAS, NAS_IPV6, real, site

Address = tuple[str, int]

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
]

SIZE = 20_000_000


@pytest.fixture(scope="module")
def nas() -> Iterator[int]:
    with site(real(NAS)) as port:
        yield port


@pytest.fixture(scope="module")
def laptop() -> Iterator[int]:
    with site(real(LAPTOP)) as port:
        yield port


def curl(*arguments: str, code: int = 0) -> bytes:
    command = ["curl", "--silent", "--show-error", "--max-time", "20", "--noproxy", "", *arguments]
    done = subprocess.run(command, capture_output=True, env={"PATH": "/usr/bin:/bin:/usr/local/bin"}, check=False)
    assert done.returncode == code, done.stderr.decode()
    return done.stdout + (done.stderr if code else b"")


DIALECTS: dict[str, list[str]] = {
    "socks5-hostname": ["--socks5-hostname", "{}"],
    "socks4a": ["--socks4a", "{}"],
    "http": ["--proxy", "http://{}"],
    "http-1.0": ["--proxy1.0", "{}"],
    "tunnel": ["--proxy", "http://{}", "--proxytunnel"],
}


def through(dialect: str, proxy: Address) -> list[str]:
    return [word.format(f"{proxy[0]}:{proxy[1]}") for word in DIALECTS[dialect]]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_by_name(proxy: Address, nas: int, dialect: str) -> None:
    answer = curl(*through(dialect, proxy), f"http://nas.home:{nas}/hello").decode()
    assert answer.startswith("GET /hello HTTP/1.1\n")
    assert f"Host: nas.home:{nas}" in answer


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_large_download_is_right(proxy: Address, nas: int, dialect: str, tmp_path: Path) -> None:
    file = tmp_path / "big"
    curl(*through(dialect, proxy), "--output", str(file), f"http://nas:{nas}/big/{SIZE}")
    expected = (bytes(range(256)) * (SIZE // 256 + 1))[:SIZE]
    assert hashlib.sha256(file.read_bytes()).digest() == hashlib.sha256(expected).digest()


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("chunked", [False, True])
def test_uploads(proxy: Address, nas: int, dialect: str, chunked: bool, tmp_path: Path) -> None:
    file = tmp_path / "upload"
    file.write_bytes(bytes(3_000_000))
    headers = ["--header", "Transfer-Encoding: chunked"] if chunked else []
    answer = curl(*through(dialect, proxy), *headers, "--upload-file", str(file), f"http://nas:{nas}/put").decode()
    assert "BODY 3000000" in answer
    answer = curl(*through(dialect, proxy), "--form", f"file=@{file}", f"http://nas:{nas}/post").decode()
    assert answer.startswith("POST /post ")


@pytest.mark.parametrize("dialect", ["socks5-hostname", "http", "tunnel"])
def test_ipv6(proxy: Address, dialect: str) -> None:
    with site("::1") as port:
        answer = curl(*through(dialect, proxy), "--globoff", f"http://[{NAS_IPV6}]:{port}/six").decode()
    assert answer.startswith("GET /six ")


def test_addresses_resolved_by_the_client(proxy: Address, nas: int) -> None:
    for option in ("--socks5", "--socks4"):
        answer = curl(option, f"{proxy[0]}:{proxy[1]}", f"http://{NAS}:{nas}/direct").decode()
        assert answer.startswith("GET /direct ")


@pytest.mark.parametrize("dialect", ["http", "tunnel", "socks5-hostname"])
def test_several_origins_in_one_call(proxy: Address, nas: int, laptop: int, dialect: str) -> None:
    urls = [f"http://nas:{nas}/1", f"http://laptop:{laptop}/2", f"http://nas:{nas}/3", f"http://nas:{nas}/chunked"]
    answer = curl(*through(dialect, proxy), *urls).decode()
    assert answer.count(f"SERVER {real(NAS)}:{nas}") == 2
    assert answer.count(f"SERVER {real(LAPTOP)}:{laptop}") == 1
    assert answer.endswith("one two three")


@pytest.mark.parametrize("dialect", ["http", "socks5-hostname"])
def test_answers_without_a_length(proxy: Address, nas: int, dialect: str) -> None:
    assert curl(*through(dialect, proxy), f"http://nas:{nas}/close") == b"until close"
    assert curl(*through(dialect, proxy), "--head", f"http://nas:{nas}/chunked").startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("dialect", ["socks5-hostname", "http", "tunnel"])
def test_user_and_password(start_proxy: Callable[..., Address], nas: int, dialect: str) -> None:
    proxy = start_proxy(ProxyOptions(listen="127.0.0.1:0", user="anna", password="s3:cret"))
    right = curl(*through(dialect, proxy), "--proxy-user", "anna:s3:cret", f"http://nas:{nas}/x")
    assert right.startswith(b"GET /x ")
    wrong = {"socks5-hostname": 97, "http": 22, "tunnel": 22}[dialect]
    curl(*through(dialect, proxy), "--fail", "--proxy-user", "anna:wrong", f"http://nas:{nas}/x", code=wrong)
    curl(*through(dialect, proxy), "--fail", f"http://nas:{nas}/x", code=wrong)


@pytest.mark.parametrize("dialect", ["socks5-hostname", "socks4a", "tunnel"])
def test_failures_are_told(proxy: Address, dialect: str) -> None:
    told = curl(*through(dialect, proxy), "http://nobody.internal/", code=56 if dialect == "tunnel" else 97)
    assert told


def test_failures_of_plain_http_are_one_line(proxy: Address) -> None:
    told = curl(*through("http", proxy), "http://nobody.internal/").decode()
    assert told == "no member is called 'nobody.internal'\n"


def test_many_at_once(proxy: Address, nas: int, tmp_path: Path) -> None:
    urls = [f"http://nas:{nas}/n{number}" for number in range(60)]
    answer = curl(*through("socks5-hostname", proxy), "--parallel", "--parallel-max", "60", *urls).decode()
    assert answer.count("BODY 0") == 60
