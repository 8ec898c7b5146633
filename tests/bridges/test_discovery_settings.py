"""What the discovery relay carries and with whom, by configuration and by command."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from bridges.discovery_settings import CustomProfile, DiscoveryOptions
from bridges.expose import aliases_bindable
from tests.bridges.conftest import until
from tests.bridges.discovery_scene import EVERYBODY, ME, NAS, Scene, free_port, heard, nothing_from, udp
from tests.bridges.harness import Loop
from userlan.driver.bridge import CommandError

pytestmark = pytest.mark.skipif(not aliases_bindable(), reason="this platform binds no loopback alias")


@pytest.fixture
def scene(loop: Loop) -> Iterator[Scene]:
    made = Scene(loop)
    yield made
    made.stop()


def test_with_whom_a_profile_is_shared(scene: Scene) -> None:
    port = free_port()
    scene.both(CustomProfile(port, "game"))
    with udp("", port) as server, udp() as client:
        told = scene.command("nas", "unshare", profile="game", peers=["me"])
        assert told["with"] == "everybody but me"
        client.sendto(b"who?", (EVERYBODY, port))
        until(lambda: scene.counters("nas", "game").get("forbidden", 0) == 1, scene.loop)
        assert nothing_from(server, ME)
        told = scene.command("nas", "share", profile="game", networks=["home"])
        assert told["with"] == "*.home"
        client.sendto(b"again", (EVERYBODY, port))
        assert heard(server, ME)[0] == b"again"
        scene.command("me", "share", profile="game", peers=["laptop"])
        client.sendto(b"for laptop", (EVERYBODY, port))
        assert nothing_from(server, ME)
        scene.command("me", "share", profile="game", peers=["nas"])
        client.sendto(b"for nas", (EVERYBODY, port))
        _, asker = heard(server, ME)
        server.sendto(b"answer", asker)
        assert heard(client, NAS)[0] == b"answer"
        assert scene.command("me", "unshare", profile="all")["text"] == "no profile is shared"
        client.sendto(b"nobody", (EVERYBODY, port))
        assert nothing_from(server, ME)
        assert not any(row["on"] for row in scene.listing("me")["profiles"])
        scene.command("me", "unshare", profile="ssdp")
        told = scene.command("me", "share", profile="all")["text"]
        assert told == "all profiles that are on are shared with everybody, unless they name somebody themselves"
        client.sendto(b"everybody", (EVERYBODY, port))
        assert heard(server, ME)[0] == b"everybody"


def test_to_search_is_to_share_with_nobody_more(scene: Scene) -> None:
    """Nor is a name passed over that nobody has."""
    scene.start("me")
    assert scene.command("me", "share", profile="teeworlds", peers=["nas"])["with"] == "nas"
    scene.command("me", "unshare", profile="teeworlds", networks=["work"])
    told = scene.command("me", "share", profile="teeworlds", search=True)
    assert (told["with"], told["picks_up"]) == ("nas but *.work", True)
    told = scene.command("me", "share", profile="teeworlds", networks=["home"], peers=["nobody"])
    assert (told["with"], told["text"].splitlines()[-1]) == ("*.home, nobody", "there is no member nobody yet")


def test_what_commands_set_holds_after_a_restart(scene: Scene) -> None:
    scene.start("me")
    scene.command("me", "share", profile="teeworlds", search=True, networks=["home"])
    scene.command("me", "unshare", profile="minecraft")
    scene.loop.call(scene.bridges["me"].stop)
    scene.start("me")
    rows = {row["profile"]: row for row in scene.listing("me")["profiles"]}
    assert (rows["teeworlds"]["with"], rows["teeworlds"]["picks_up"]) == ("*.home", True)
    assert not rows["minecraft"]["on"]
    assert rows["quake3"]["on"]
    assert not rows["quake3"]["picks_up"], "its port is not known to be shared"


@pytest.mark.parametrize(
    ("command", "arguments", "text"),
    [
        ("share", {"profile": "nonsense"}, "no profile 'nonsense': `userlan share` lists them"),
        ("share", {"profile": "minecrft"}, "no profile 'minecrft': did you mean 'minecraft'?"),
        ("share", {"profile": "chromecast"}, "_googlecast"),
        ("unshare", {"profile": "ssdp", "peers": ["a b"]}, "'a b'"),
        ("share", {"profile": 3}, "wrong arguments"),
    ],
)
def test_commands_name_what_is_wrong(scene: Scene, command: str, arguments: dict[str, object], text: str) -> None:
    scene.start("me")
    with pytest.raises(CommandError, match=text):
        scene.command("me", command, **arguments)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: DiscoveryOptions(profiles={"nonsense": True}), "profiles: there is no profile 'nonsense'"),
        (lambda: DiscoveryOptions(custom=(CustomProfile(1900),)), "port 1900 belongs to the profile ssdp"),
        (lambda: DiscoveryOptions(custom=(CustomProfile(5000, "x"), CustomProfile(5001, "x"))), "a profile x already"),
        (lambda: CustomProfile(5000, groups=("ff02::5",)), "IPv4 group"),
        (lambda: CustomProfile(5000, "all"), "stands for all"),
        (lambda: CustomProfile(5000, last=4000), "last: 4000"),
        (lambda: CustomProfile(5000, ports=("x",)), "ports: 'x'"),
        (lambda: DiscoveryOptions(deny=("a b",)), "deny: 'a b'"),
    ],
)
def test_options_name_what_is_wrong(make: Callable[[], object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()
