"""What people ask of the chat: pages, search, and each mistake in one clear line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridges.chat.frames import PORT
from bridges.chat.records import MAX_TEXT
from tests.bridges.chat.party import Party
from userlan.driver.bridge import CommandError


def test_pages_of_long_messages_are_shorter(party: Party) -> None:
    anna = party.persons["anna"]
    for number in range(100):
        anna.send("ben", f"{number} " + "x" * 8000)
    page = anna.ask("chat-history", conversation="ben", limit=100)
    assert 20 < len(page["messages"]) < 40
    assert page["more"] is True
    assert page["messages"][-1]["text"].startswith("99 ")
    seen: list[int] = []
    while page["messages"]:
        seen[:0] = [int(message["text"].split()[0]) for message in page["messages"]]
        page = anna.ask("chat-history", conversation="ben", limit=100, before=page["messages"][0]["seq"])
    assert seen == list(range(100))


def test_search(party: Party) -> None:
    anna = party.persons["anna"]
    anna.send("ben", "the needle")
    anna.send("home", "hay")
    told = anna.ask("chat-search", text=" NEEDLE ")
    assert ([message["text"] for message in told["messages"]], told["before"]) == (["the needle"], None)
    assert anna.ask("chat-search", text="needle", conversation="home") == {"messages": [], "before": None}
    assert len(anna.ask("chat-search", text="needle", conversation="ben")["messages"]) == 1


def test_findings_that_are_long_come_in_several_answers(party: Party) -> None:
    anna = party.persons["anna"]
    for number in range(60):
        anna.send("ben", f"{number} " + "x" * 8000)
    seen: list[int] = []
    told: dict[str, Any] = {"before": None}
    while not seen or told["before"] is not None:
        told = anna.ask("chat-search", text="x", before=told["before"])
        assert len(told["messages"]) < 40
        seen[:0] = [int(message["text"].split()[0]) for message in told["messages"]]
    assert seen == list(range(60))


def test_pages_of_what_is_newer(party: Party) -> None:
    anna = party.persons["anna"]
    for number in range(60):
        anna.send("ben", f"{number} " + "x" * 8000)
    page = anna.ask("chat-history", conversation="ben", limit=60, after=0)
    seen = [message["text"].split()[0] for message in page["messages"]]
    assert seen[0] == "0"
    assert page["more"] is True
    while page["more"]:
        page = anna.ask("chat-history", conversation="ben", limit=60, after=page["messages"][-1]["seq"])
        seen += [message["text"].split()[0] for message in page["messages"]]
    assert seen == [str(number) for number in range(60)]


@pytest.mark.parametrize(
    ("command", "arguments", "told"),
    [
        ("chat-send", {"to": "bne", "text": "x"}, "did you mean 'ben'"),
        ("chat-send", {"to": "hmoe", "text": "x"}, "did you mean 'home'"),
        ("chat-send", {"to": "zzz", "text": "x"}, "userlan status"),
        ("chat-send", {"to": "", "text": "x"}, "to whom"),
        ("chat-send", {"to": "anna", "text": "x"}, "this node itself"),
        ("chat-send", {"to": "ben", "text": " \n\x1b"}, "empty"),
        ("chat-send", {"to": "ben", "text": "x" * (MAX_TEXT + 1)}, "userlan send"),
        ("chat-send", {"to": "ben"}, "wrong arguments"),
        ("chat-send", {"to": 5, "text": "x"}, "wrong arguments"),
        ("chat-send", {"to": "network:nowhere", "text": "x"}, "not in the network nowhere"),
        ("chat-send", {"to": "25.200.1.1", "text": "x"}, "25.200.1.1"),
        ("chat-history", {"conversation": "nobody"}, "no peer and no network"),
        ("chat-history", {"conversation": "ben", "before": "x"}, "wrong arguments"),
        ("chat-history", {"conversation": "ben", "before": 1 << 80}, "wrong arguments"),
        ("chat-history", {"conversation": "ben", "before": 5, "after": 1}, "not both"),
        ("chat-search", {"text": " "}, "search for what"),
        ("chat-search", {"text": "x", "conversation": "nobody"}, "no peer and no network"),
    ],
)
def test_each_mistake_is_one_clear_line(party: Party, command: str, arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(CommandError) as caught:
        party.persons["anna"].ask(command, **arguments)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_a_peer_and_a_network(party: Party) -> None:
    party.networks["ben"] = {"anna", "ben"}
    party.changed()
    anna = party.persons["anna"]
    with pytest.raises(CommandError, match="say network:ben or peer:ben"):
        anna.send("ben", "x")
    assert anna.send("peer:ben", "x")["conversation"] == f"peer:{party.key('ben')}"
    assert anna.send("network:ben", "x")["conversation"] == "network:ben"
    assert anna.send(party.key("ben"), "x")["conversation"] == f"peer:{party.key('ben')}"


def test_an_empty_network(party: Party) -> None:
    party.networks["alone"] = {"anna"}
    party.changed()
    with pytest.raises(CommandError, match="nobody else is in alone yet"):
        party.persons["anna"].send("alone", "x")


def test_a_port_that_somebody_has(party: Party) -> None:
    party.close("ben")
    party.lans["ben"].listening[PORT] = party.lans["anna"].listening[PORT]
    ben = party.open("ben")
    assert "in use" in str(ben.service.status())
    del party.lans["ben"].listening[PORT]


def test_a_history_that_cannot_be_opened(tmp_path: Path) -> None:
    made = Party(tmp_path, "anna")
    (tmp_path / "anna.sqlite").mkdir()
    anna = made.open("anna")
    assert "cannot be opened" in str(anna.service.status())
    with pytest.raises(CommandError, match="chat is off"):
        anna.ask("chat-conversations")
    anna.stop()
    assert made.clock.getDelayedCalls() == []
