"""With whom something is shared."""

from __future__ import annotations

from typing import Any

import pytest

from bridges.sharing import Policy, means
from tests.bridges.harness import FakeLan
from userlan.driver.lan import PeerInfo


@pytest.fixture
def fake() -> Any:
    return FakeLan(None)


def peer(fake: Any, name: str) -> PeerInfo:
    found: PeerInfo = fake.peer_at(fake.resolve(name))
    return found


def test_everybody_unless_somebody_is_named(fake: Any) -> None:
    nas, laptop = peer(fake, "nas"), peer(fake, "laptop")
    assert Policy().admits(fake, nas)
    assert not Policy(enabled=False).admits(fake, nas)
    assert Policy(networks=("home",)).admits(fake, nas)
    assert not Policy(networks=("home",)).admits(fake, laptop)
    both = Policy(networks=("home",), peers=("laptop",))
    assert both.admits(fake, nas)
    assert both.admits(fake, laptop)


@pytest.mark.parametrize("entry", ["nas", "nas.home", "nas.home.internal", "key-of-nas", "*.home", "*.HOME.internal"])
def test_a_denied_member_is_let_in_by_nothing(fake: Any, entry: str) -> None:
    nas, laptop = peer(fake, "nas"), peer(fake, "laptop")
    assert means(fake, entry, nas)
    policy = Policy(peers=("nas", "laptop"), deny=(entry,))
    assert not policy.admits(fake, nas)
    assert policy.admits(fake, laptop)


@pytest.mark.parametrize("entry", ["laptop", "nas.work", "nobody", "*.work", "key-of-laptop", "*.hom"])
def test_an_entry_means_nobody_else(fake: Any, entry: str) -> None:
    assert not means(fake, entry, peer(fake, "nas"))


@pytest.mark.parametrize(
    ("given", "text"),
    [({"networks": ("a b",)}, "networks: 'a b'"), ({"peers": ("*",)}, "peers: '\\*'"), ({"deny": ("x/y",)}, "deny: 'x/y'")],
)
def test_what_is_not_written_right_is_named(given: dict[str, tuple[str, ...]], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Policy(**given)    # type: ignore[arg-type]


def test_it_is_told_in_one_line() -> None:
    assert Policy().describe() == "everybody"
    assert Policy(enabled=False).describe() == "nobody"
    assert Policy(networks=("home",), peers=("bob",), deny=("eve",)).describe() == "*.home, bob but eve"
