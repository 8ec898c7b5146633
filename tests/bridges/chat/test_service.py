"""Members who talk, in virtual time: exactly once, in order, kept until they are there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from bridges.chat.absences import GRACE
from bridges.chat.bell import DELAY as BELL
from bridges.chat.courier import NO_CHAT, REFUSED_FOR
from bridges.chat.service import DAY
from bridges.chat.store import Store
from tests.bridges.chat.party import DELAY, WALL, Party
from userlan.driver.bridge import CommandError


def test_both_ways(party: Party) -> None:
    anna, ben = party.persons["anna"], party.persons["ben"]
    sent = anna.send("ben", "hello")
    assert (sent["state"], sent["own"], sent["from"], sent["recipients"]) == ("waiting", True, party.key("anna"), 1)
    party.run(1)
    ben.send("anna", "hi\nanna")
    party.run(1)
    assert anna.texts("ben") == ben.texts("anna") == ["hello", "hi\nanna"]
    assert [message["state"] for message in anna.history("ben")] == ["delivered", "received"]
    heard = ben.history("anna")[0]
    assert (heard["id"], heard["from"], heard["name"], heard["own"]) == (sent["id"], party.key("anna"), "anna", False)
    assert heard["conversation"] == f"peer:{party.key('anna')}"


def test_everybody_in_a_network_once(party: Party) -> None:
    anna = party.persons["anna"]
    anna.send("home", "all of you")
    party.run(1)
    for name in ("ben", "eve"):
        assert party.persons[name].texts("network:home") == ["all of you"]
    message = anna.history("home")[0]
    assert (message["state"], message["delivered"], message["recipients"]) == ("delivered", 2, 2)
    assert [one["id"] for one in anna.ask("chat-conversations")] == ["network:home"]


def test_what_is_told_as_it_happens(party: Party) -> None:
    anna, ben = party.persons["anna"], party.persons["ben"]
    anna.send("ben", "x")
    party.run(1)
    assert [(*one, one[next(iter(one))]["state"]) for one in anna.events] == [("message", "waiting"), ("delivery", "delivered")]
    ben.ask("chat-read", conversation="anna")
    ben.ask("chat-read", conversation="anna")
    assert [next(iter(one)) for one in ben.events] == ["message", "read"]


def test_kept_until_the_peer_is_seen_across_restarts_of_both(party: Party) -> None:
    party.close("ben")
    for number in range(40):
        party.persons["anna"].send("ben", str(number))
    party.run(100)
    party.close("anna")
    party.run(100)
    anna, ben = party.open("anna"), party.open("ben")
    assert anna.history("ben")[0]["state"] == "waiting"
    party.run(5)
    assert ben.texts("anna") == [str(number) for number in range(40)]
    assert {message["state"] for message in anna.history("ben")} == {"delivered"}


def test_a_member_who_comes_back_is_reached_at_once(party: Party) -> None:
    party.away.add("ben")
    party.persons["anna"].send("ben", "are you there")
    party.run(1000)
    party.away.clear()
    party.reach("anna", "ben")
    party.run(10 * DELAY)
    assert party.persons["ben"].texts("anna") == ["are you there"]


def test_a_member_who_is_away_costs_little(party: Party) -> None:
    party.away.add("ben")
    party.persons["anna"].send("ben", "x")
    party.run(DAY)
    assert len(party.attempts) < 300


def test_nothing_is_asked_while_nothing_waits(party: Party) -> None:
    party.persons["anna"].send("ben", "x")
    party.run(1)
    before = len(party.attempts)
    party.run(DAY)
    party.reach("anna", "ben")
    party.run(10)
    assert len(party.attempts) == before == 1


def test_a_connection_serves_many_messages(party: Party) -> None:
    for number in range(200):
        party.persons["anna"].send("ben", str(number))
    party.run(20)
    assert party.persons["ben"].texts("anna") == [str(number) for number in range(200)]
    assert len(party.attempts) == 1


def test_a_connection_that_dies_in_the_middle(party: Party) -> None:
    """An acknowledgement that is lost brings the message again, and it is there once."""
    anna, ben = party.persons["anna"], party.persons["ben"]
    for number in range(100):
        anna.send("ben", str(number))
    party.run(4.5 * DELAY)
    party.away.add("ben")
    party.run(1)
    assert len(ben.texts("anna")) > sum(message["state"] == "delivered" for message in anna.history("ben"))
    for end in party.connections[-1]:
        end.close(ConnectionResetError())
    party.away.clear()
    party.reach("anna", "ben")
    party.run(60)
    assert ben.texts("anna") == [str(number) for number in range(100)]
    assert {message["state"] for message in anna.history("ben")} == {"delivered"}


def test_a_new_way_replaces_a_connection_that_is_stuck(party: Party) -> None:
    anna, ben = party.persons["anna"], party.persons["ben"]
    anna.send("ben", "1")
    party.run(1)
    party.away.add("ben")
    anna.send("ben", "2")
    party.run(30)
    party.away.clear()
    party.reach("anna", "ben")
    party.run(3)
    assert ben.texts("anna") == ["1", "2"]
    assert len(party.attempts) == 2


def test_not_acknowledged_before_it_is_on_the_disk(party: Party) -> None:
    anna, ben = party.persons["anna"], party.persons["ben"]
    ben.worker.full = True
    anna.send("ben", "x")
    party.run(60)
    assert anna.history("ben")[0]["state"] == "waiting"
    ben.worker.full = False
    party.run(120)
    assert anna.history("ben")[0]["state"] == "delivered"
    assert ben.texts("anna") == ["x"]


def test_waiting_for_a_delivery(party: Party) -> None:
    anna = party.persons["anna"]
    answers: list[Any] = []
    send: Any = anna.commands.send
    send({"to": "ben", "text": "x", "wait": 5.0}).addCallback(answers.append)
    party.run(1)
    assert answers[0]["message"]["state"] == "delivered"
    party.away.add("ben")
    send({"to": "home", "text": "y", "wait": 5.0}).addCallback(answers.append)
    party.run(4.9)
    assert len(answers) == 1
    party.run(0.2)
    assert (answers[1]["message"]["state"], answers[1]["message"]["delivered"]) == ("waiting", 1)
    send({"to": "ben", "text": "z", "wait": 5.0}).addErrback(lambda failure: None).cancel()


def test_who_joins_later_does_not_get_what_was_said(party: Party) -> None:
    party.networks["home"].remove("eve")
    party.changed()
    anna = party.persons["anna"]
    anna.send("home", "old")
    party.run(1)
    party.networks["home"].add("eve")
    party.changed()
    anna.send("home", "new")
    party.run(5)
    assert party.persons["ben"].texts("network:home") == ["old", "new"]
    assert party.persons["eve"].texts("network:home") == ["new"]


def test_who_has_left_a_network_gets_nothing_of_it(party: Party) -> None:
    party.networks["work"] = {"anna", "eve"}
    party.away.add("eve")
    anna = party.persons["anna"]
    anna.send("home", "x")
    anna.send("eve", "to you alone")
    party.run(10)
    party.networks["home"].remove("eve")
    party.changed()
    party.run(GRACE - 5)
    assert anna.history("network:home")[0]["state"] == "waiting"
    party.run(10)
    message = anna.history("network:home")[0]
    assert (message["state"], message["delivered"], message["reason"]) == ("delivered", 1, "not in home any more")
    assert {"delivery": message} in anna.events
    party.away.clear()
    party.reach("anna", "eve")
    party.run(5)
    assert party.persons["eve"].texts("network:home") == []
    assert party.persons["eve"].texts("anna") == ["to you alone"]


def test_who_has_left_every_network(party: Party) -> None:
    party.away.add("eve")
    anna = party.persons["anna"]
    conversation = anna.send("eve", "x")["conversation"]
    party.networks["home"].remove("eve")
    party.changed()
    party.run(GRACE + 10)
    message = anna.history(conversation)[0]
    assert (message["state"], message["reason"]) == ("failed", "not in any of your networks any more")
    assert anna.texts("eve") == ["x"], "the history is found by the name that it had"
    assert anna.ask("chat-conversations")[0]["here"] is False
    with pytest.raises(CommandError, match="no peer and no network is called 'eve'"):
        anna.send("eve", "y")
    with pytest.raises(CommandError, match="none of your networks"):
        anna.send(conversation, "y")
    attempts = len(party.attempts)
    party.run(DAY)
    assert len(party.attempts) == attempts, "nobody asks for her any more"


def test_what_was_given_up_is_told_before_the_next_is_looked_at(party: Party) -> None:
    """What comes between the two may be newer, and the next may fail."""
    party.networks["work"] = {"anna", "ben", "eve"}
    party.networks["club"] = {"anna", "eve"}
    party.away.add("eve")
    anna = party.persons["anna"]
    anna.send("home", "x")
    anna.send("work", "y")
    party.run(10)
    for name in ("home", "work"):
        party.networks[name].remove("eve")
    party.changed()
    worker, jobs = anna.worker, anna.worker.run

    def run(job: Callable[[Store], Any]) -> Deferred[Any]:
        answer = jobs(job)
        worker.full = isinstance(job, partial)
        return answer

    anna.worker.run = run  # type: ignore[method-assign]
    party.run(GRACE + 10)
    worker.full = False
    told = [one["delivery"]["conversation"] for one in anna.events if one.get("delivery", {}).get("reason")]
    assert told == ["network:home"]


def test_a_network_that_was_left(party: Party) -> None:
    party.networks["work"] = {"anna", "ben", "eve"}
    party.away |= {"ben", "eve"}
    anna = party.persons["anna"]
    anna.send("home", "x")
    party.networks["home"].remove("anna")
    party.changed()
    party.run(GRACE + 10)
    message = anna.history("network:home")[0]
    assert (message["state"], message["reason"]) == ("failed", "this node has left home")
    with pytest.raises(CommandError, match="not in the network home any more"):
        anna.send("network:home", "y")


def test_who_is_blocked_is_sent_nothing_and_heard_no_more(party: Party) -> None:
    anna, ben, eve = (party.persons[name] for name in ("anna", "ben", "eve"))
    eve.send("anna", "before")
    party.run(1)
    party.away.add("eve")
    anna.send("eve", "kept")
    party.blocked.add(("anna", "eve"))
    party.away.clear()
    party.changed()
    eve.send("anna", "unheard")
    anna.send("home", "to the others")
    party.run(3600)
    assert anna.texts("eve") == ["before", "kept"]
    assert (ben.texts("network:home"), eve.texts("network:home")) == (["to the others"], [])
    assert anna.history("home")[0]["state"] == "delivered"
    with pytest.raises(CommandError, match="userlan unblock eve"):
        anna.send("eve", "x")
    party.blocked.clear()
    party.changed()
    party.reach("anna", "eve")
    party.run(60)
    assert anna.texts("eve") == ["before", "kept", "unheard"]
    assert eve.texts("anna") == ["before", "unheard", "kept"]


def test_who_is_there_and_has_no_chat(party: Party) -> None:
    """A guest, or a node with an old userlan, leaves no message to a network waiting for ever."""
    party.close("eve")
    party.away.clear()
    anna = party.persons["anna"]
    anna.send("home", "x")
    anna.send("eve", "y")
    party.run(REFUSED_FOR / 2)
    assert anna.history("home")[0]["state"] == "waiting", "it may be just starting"
    party.run(2 * REFUSED_FOR)
    message = anna.history("home")[0]
    assert (message["state"], message["delivered"], message["reason"]) == ("delivered", 1, NO_CHAT)
    assert anna.history("eve")[0]["state"] == "failed"
    attempts = len(party.attempts)
    party.run(DAY)
    assert len(party.attempts) == attempts
    party.open("eve")
    anna.send("eve", "z")
    party.run(1)
    assert party.persons["eve"].texts("anna") == ["z"]


def test_a_roster_in_motion_loses_nothing(party: Party) -> None:
    party.away.add("ben")
    anna = party.persons["anna"]
    anna.send("ben", "x")
    party.networks["home"].remove("ben")
    party.changed()
    party.run(GRACE / 2)
    party.networks["home"].add("ben")
    party.changed()
    party.run(2 * GRACE)
    party.away.clear()
    party.reach("anna", "ben")
    party.run(5)
    assert party.persons["ben"].texts("anna") == ["x"]


def test_the_recipient_learns_later_who_is_in_the_network(party: Party) -> None:
    """The two rosters are not the same at every moment: what is refused for that is brought again."""
    party.networks["work"] = {"anna", "ben"}
    ben = party.persons["ben"]
    see = ben.lan.members
    ben.lan.members = lambda: [one for one in see() if one.name != "anna"]
    ben.service.roll.changed()
    anna = party.persons["anna"]
    anna.send("work", "x")
    party.run(10)
    assert anna.history("work")[0]["state"] == "waiting"
    ben.lan.members = see
    ben.service.roll.changed()
    party.run(60)
    assert ben.texts("network:work") == ["x"]
    assert len(party.attempts) < 12


def test_names_of_the_time_and_titles_of_today(party: Party) -> None:
    anna, ben = party.persons["anna"], party.persons["ben"]
    ben.send("anna", "as ben")
    party.run(1)
    party.nicks["ben"] = "benjamin"
    party.changed()
    assert anna.ask("chat-conversations")[0]["title"] == "benjamin"
    ben.send("anna", "as benjamin")
    party.run(1)
    assert [message["name"] for message in anna.history("benjamin")] == ["ben", "benjamin"]


@pytest.mark.parametrize("skew", [-1e9, -3600.0, 3600.0, 1e9])
def test_clocks_that_do_not_agree(party: Party, skew: float) -> None:
    """What counts is how long it was on its way, by the sender's clock, and now, by one's own."""
    party.skew["anna"] = skew
    party.close("ben")
    party.persons["anna"].send("ben", "x")
    party.run(100)
    ben = party.open("ben")
    party.reach("anna", "ben")
    party.run(5)
    assert ben.history("anna")[0]["time"] == pytest.approx(WALL, abs=2)


def test_what_waits_for_too_long_fails(party: Party) -> None:
    party.away.add("ben")
    anna = party.persons["anna"]
    anna.send("ben", "x")
    party.run(30 * DAY + 2 * 3600)
    message = anna.history("ben")[0]
    assert (message["state"], message["reason"]) == ("failed", "not seen for 30 days")


def test_the_desktop_is_told_of_what_is_not_read(party: Party) -> None:
    party.hear_notices("ben")
    party.close("ben")
    ben = party.open("ben")
    anna = party.persons["anna"]
    conversation = f"peer:{party.key('anna')}"
    anna.send("ben", "seen at once")
    party.run(BELL / 2)
    ben.ask("chat-read", conversation="anna")
    party.run(2 * BELL)
    assert party.notices == []
    anna.send("ben", "one\x1b[2J")
    anna.send("ben", "two")
    anna.send("home", "x" * 1000)
    party.run(2 * BELL)
    assert ("chat", "anna", "two", conversation, 2) in party.notices
    assert ("chat", "anna in home", "x" * 200, "network:home", 1) in party.notices
    ben.ask("chat-read", conversation="anna")
    assert party.notices[2:] == [("withdrawn", conversation)]
    ben.ask("chat-mute", conversation="anna")
    anna.send("ben", "quiet")
    party.run(2 * BELL)
    assert len(party.notices) == 3


def test_cleared_here_stays_there(party: Party) -> None:
    anna, ben = party.persons["anna"], party.persons["ben"]
    anna.send("ben", "x")
    party.run(1)
    assert ben.ask("chat-clear", conversation="anna")["removed"] == 1
    assert (ben.texts("anna"), anna.texts("ben"), ben.ask("chat-conversations")) == ([], ["x"], [])


def test_cleared_before_it_was_brought_is_not_brought(party: Party) -> None:
    party.away.add("ben")
    anna = party.persons["anna"]
    anna.send("ben", "regretted")
    party.run(5)
    anna.ask("chat-clear", conversation="ben")
    party.away.clear()
    party.reach("anna", "ben")
    party.run(5)
    assert party.persons["ben"].texts("anna") == []
