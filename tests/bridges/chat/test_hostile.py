"""What a hostile member can do to a chat, in virtual time: nothing to the others, and little at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Protocol

from bridges.chat.allowance import BURST, RATE
from bridges.chat.frames import MAX_FRAME, PORT, Hello, Lines, Refused, Taken, Text, decode, encode
from bridges.chat.incoming import FRAME_TIMEOUT, HELLO_TIMEOUT, IDLE_TIMEOUT
from bridges.chat.outgoing import ANSWER_TIMEOUT
from bridges.chat.reception import MAX_ARRIVALS, MAX_OF_AUTHOR
from bridges.chat.service import MAX_AGE
from tests.bridges.chat.party import WALL, End, Party

HELLO = encode(Hello(1))


def identifier(number: int) -> str:
    return f"{number:022d}"


class Raw(Protocol):
    """A hostile member's own idea of the protocol."""

    transport: Any

    def __init__(self) -> None:
        self.frames: list[Any] = []
        self.lost = False
        self._lines = Lines()

    def dataReceived(self, data: bytes) -> None:
        self._lines.feed(data)
        while (line := self._lines.take()) is not None:
            self.frames.append(decode(line))

    def connectionLost(self, reason: Any = None) -> None:
        self.lost = True

    def say(self, *messages: Text) -> None:
        self.transport.write(b"".join(map(encode, messages)))


@pytest.fixture
def party(tmp_path: Path) -> Iterator[Party]:
    """eve has no chat of her own."""
    made = Party(tmp_path, "anna", "ben", "eve")
    made.networks["work"] = {"anna", "ben"}
    for name in ("anna", "ben"):
        made.open(name)
    yield made
    for name in list(made.persons):
        made.close(name)
    made.run(1)
    assert made.clock.getDelayedCalls() == []


def dial(party: Party, who: str = "eve", whom: str = "anna", hello: bool = True) -> Raw | None:
    """A connection of ``who`` with ``whom``'s chat; None when it is refused."""
    ends = End(party, who, whom), End(party, whom, who)
    accepted = party.lans[whom].listening[PORT].buildProtocol(IPv4Address("TCP", party.address(who), 40_000))
    if accepted is None:
        return None
    raw = Raw()
    for end, other, protocol in ((ends[0], ends[1], raw), (ends[1], ends[0], accepted)):
        end.other, end.protocol = other, protocol
        protocol.makeConnection(end)
    if hello:
        raw.transport.write(HELLO)
    party.run(1)
    return raw


def dialled(party: Party, who: str = "eve", whom: str = "anna", hello: bool = True) -> Raw:
    raw = dial(party, who, whom, hello)
    assert raw is not None
    return raw


def arrivals(party: Party, whom: str = "anna") -> int:
    counters: dict[str, int] = party.persons[whom].service.counters()
    return counters["arrivals"]


def test_nobody_but_members(party: Party) -> None:
    party.names.append("mallory")
    assert dial(party, "mallory") is None
    party.networks["home"].remove("eve")
    party.changed()
    assert dial(party) is None


def test_oneself_is_nobody(party: Party) -> None:
    assert dial(party, "anna") is None


def test_a_network_that_the_author_is_not_in(party: Party) -> None:
    raw = dialled(party)
    raw.say(Text(identifier(1), "to work", "work"), Text(identifier(2), "to nowhere", "nowhere"), Text(identifier(3), "home", "home"))
    party.run(1)
    assert raw.frames == [Hello(1), Refused(identifier(1), "network"), Refused(identifier(2), "network"), Taken(identifier(3))]
    assert [one["id"] for one in party.persons["anna"].ask("chat-conversations")] == ["network:home"]


def test_the_author_is_who_holds_the_address(party: Party) -> None:
    raw = dialled(party)
    raw.transport.write(
        b'{"type":"message","id":"' + b"A" * 22 + b'","text":"I am ben","from":"ben","name":"ben","conversation":"peer:ben"}\n'
    )
    party.run(1)
    (message,) = party.persons["anna"].history("eve")
    assert (message["name"], message["from"]) == ("eve", party.key("eve"))


def test_an_id_of_somebody_else_hides_nothing(party: Party) -> None:
    sent = party.persons["ben"].send("work", "original")
    raw = dialled(party)
    raw.say(Text(sent["id"], "first", "home"))
    party.run(2)
    assert party.persons["anna"].texts("network:work") == ["original"]
    assert party.persons["anna"].texts("network:home") == ["first"]


def test_replays(party: Party) -> None:
    raw = dialled(party)
    raw.say(*[Text(identifier(1), "again")] * 50)
    party.run(10)
    again = dialled(party)
    again.say(Text(identifier(1), "and another text"))
    party.run(10)
    assert party.persons["anna"].texts("eve") == ["again"]
    assert again.frames[-1] == Taken(identifier(1)), "an acknowledgement that was lost is given again"


def test_forged_acknowledgements(party: Party) -> None:
    """Nobody but the recipient says that it has arrived: not on a connection of the own, and not for another."""
    anna = party.persons["anna"]
    party.away.add("ben")
    sent = anna.send("ben", "x")
    raw = dialled(party)
    raw.transport.write(encode(Taken(sent["id"])) * 5)
    party.run(5)
    assert anna.history("ben")[0]["state"] == "waiting"


def test_a_recipient_forges_for_others(party: Party) -> None:
    """eve answers for a message to ben, in the connection in which she is given her own."""
    anna = party.persons["anna"]
    party.away.add("ben")
    to_ben = anna.send("ben", "x")
    raw = Raw()

    class Listening:
        def buildProtocol(self, address: object) -> Raw:
            return raw

    party.lans["eve"].listening[PORT] = Listening()
    anna.send("eve", "y")
    party.run(1)
    raw.transport.write(HELLO + encode(Taken(to_ben["id"])))
    party.run(1)
    assert [frame.text for frame in raw.frames[1:]] == ["y"]
    assert anna.history("ben")[0]["state"] == "waiting"
    assert anna.history("eve")[0]["state"] == "waiting"
    raw.transport.write(encode(Taken(raw.frames[1].id)) * 9)
    party.run(1)
    message = anna.history("eve")[0]
    assert (message["state"], message["delivered"]) == ("delivered", 1)


@pytest.mark.parametrize("answer", [b"", bytes(100), HELLO + b"\xff\n", HELLO + b"x" * (MAX_FRAME + 1), HELLO + b'{"type":"x"}\n' * 1000])
def test_a_recipient_that_talks_nonsense(party: Party, answer: bytes) -> None:
    """It is asked again, ever more seldom; what is for others is not held up."""
    raws: list[Raw] = []

    class Listening:
        def buildProtocol(self, address: object) -> Raw:
            raws.append(Raw())
            party.clock.callLater(0.1, lambda raw=raws[-1]: raw.transport.write(answer))
            return raws[-1]

    party.lans["eve"].listening[PORT] = Listening()
    anna = party.persons["anna"]
    anna.send("eve", "x")
    anna.send("home", "y")
    party.run(10)
    assert party.persons["ben"].texts("network:home") == ["y"]
    party.run(3600)
    assert 1 < len(raws) < 3600 / 60
    assert sum(not raw.lost for raw in raws) <= 1
    assert ANSWER_TIMEOUT < 3600


@pytest.mark.parametrize(
    "data",
    [
        b"\x00" * 1000 + b"\n",
        b"x" * (MAX_FRAME + 1),
        b'{"type":"message","id":"' + b"A" * 22 + b'","text":"\xc3\x28"}\n',
        b'{"type":"message","id":"' + b"A" * 22 + b'","text":"\\udc00"}\n',
        b"[" * 50_000 + b"\n",
        b'{"type":"message","id":"../../../../etc/passwd","text":"x"}\n',
        b'{"type":"message","id":"' + b"A" * 22 + b'","text":"x","age":1e400}\n',
    ],
)
def test_what_is_no_frame(party: Party, data: bytes) -> None:
    raw = dialled(party)
    raw.transport.write(data)
    party.run(1)
    assert raw.lost
    assert arrivals(party) == 0
    assert party.persons["anna"].ask("chat-conversations") == []


def test_random_octets(party: Party) -> None:
    for _ in range(50):
        raw = dialled(party, hello=False)
        raw.transport.write(os.urandom(500) + b"\n")
        party.run(0.2)
        assert raw.lost
    assert arrivals(party) == 0


def test_texts_that_are_no_texts(party: Party) -> None:
    raw = dialled(party)
    texts = ["\x1b]0;title\x07\x1b[2Jx", "\u202egnp.exe", " \n\n", "a\x00b\r\nc", "<script>alert(1)</script>", "\x00"]
    raw.say(*[Text(identifier(number), text) for number, text in enumerate(texts)])
    party.run(1)
    assert party.persons["anna"].texts("eve") == ["]0;title[2Jx", "\u202egnp.exe", "a" "b\nc", "<script>alert(1)</script>"]
    assert [frame.reason for frame in raw.frames if isinstance(frame, Refused)] == ["text", "text"]


@pytest.mark.parametrize(("age", "passed"), [(0.0, 0.0), (1e308, MAX_AGE), (100.0, 100.0)])
def test_ages(party: Party, age: float, passed: float) -> None:
    raw = dialled(party)
    raw.say(Text(identifier(1), "x", "", age))
    party.run(1)
    assert party.persons["anna"].history("eve")[0]["time"] == pytest.approx(WALL - passed, abs=5)


def test_a_flood_holds_up_its_author_alone(party: Party) -> None:
    raw = dialled(party)
    raw.say(*[Text(identifier(number), "flood") for number in range(5000)])
    party.run(1)
    party.persons["ben"].send("anna", "hello")
    party.run(1)
    assert party.persons["anna"].texts("ben") == ["hello"]
    party.run(8)
    count = len(party.persons["anna"].history("eve"))
    assert count <= 1000
    end = raw.transport.other
    assert end.paused
    assert end.received, "the rest waits with its author"
    taken = sum(isinstance(frame, Taken) for frame in raw.frames)
    assert taken <= BURST + 11 * RATE


def test_more_connections_bring_no_more(party: Party) -> None:
    raws = [dialled(party) for _ in range(20)]
    assert sum(not raw.lost for raw in raws) == MAX_OF_AUTHOR
    assert arrivals(party) == MAX_OF_AUTHOR
    for turn in range(4):
        raw = dialled(party)
        raw.say(*[Text(identifier(1000 * turn + number), "flood") for number in range(500)])
        party.run(0.5)
    assert len(party.persons["anna"].history("eve")) <= BURST + 30 * RATE


def test_thousands_of_connections(party: Party) -> None:
    """They give way to those that come later, the most silent first; who talks stays."""
    talker = dialled(party, "ben")
    names = [f"m{number}" for number in range(MAX_ARRIVALS + 50)]
    party.names += names
    party.networks["home"] |= set(names)
    infos = {party.address(name): party.info(name, "anna") for name in names}
    lan, ben = party.lans["anna"], party.info("ben", "anna")
    lan.members = lambda: [*infos.values(), ben]        # type: ignore[method-assign]
    lan.peer_at = lambda address: infos.get(address)    # type: ignore[method-assign]
    party.persons["anna"].service.roll.changed()
    reception = party.lans["anna"].listening[PORT]
    for number, name in enumerate(names):
        accepted = reception.buildProtocol(IPv4Address("TCP", party.address(name), 40_000))
        ends = End(party, name, "anna"), End(party, "anna", name)
        for end, other, protocol in ((ends[0], ends[1], Raw()), (ends[1], ends[0], accepted)):
            end.other, end.protocol = other, protocol
            protocol.makeConnection(end)
        if number % 300 == 0:
            talker.say(Text(identifier(number), "still here"))
            party.run(0.5)
    assert arrivals(party) == MAX_ARRIVALS
    assert not talker.lost
    party.run(HELLO_TIMEOUT + 1)
    assert arrivals(party) == 1, "who does not even say hello is gone soon"


def test_slowloris(party: Party) -> None:
    raw = dialled(party)
    for _ in range(int(FRAME_TIMEOUT) + 10):
        if not raw.lost:
            raw.transport.write(b"[")
        party.run(1)
    assert raw.lost


def test_silence(party: Party) -> None:
    raw = dialled(party)
    party.run(IDLE_TIMEOUT + 1)
    assert raw.lost


def test_who_does_not_read_the_answers_is_not_read(party: Party) -> None:
    raw = dialled(party)
    arrival = raw.transport.other.protocol
    arrival.pauseProducing()
    raw.say(Text(identifier(1), "x"))
    party.run(1)
    assert party.persons["anna"].ask("chat-conversations") == []
    arrival.resumeProducing()
    party.run(1)
    assert party.persons["anna"].texts("eve") == ["x"]


def test_who_is_put_out_is_heard_no_more(party: Party) -> None:
    raw = dialled(party)
    party.networks["home"].remove("eve")
    party.changed()
    raw.say(Text(identifier(1), "x"))
    party.run(1)
    assert raw.lost
    assert party.persons["anna"].ask("chat-conversations") == []


def test_rows_of_one_author_have_a_cap(party: Party) -> None:
    party.close("anna")
    anna = party.open("anna", history=40)
    party.persons["ben"].send("home", "precious")
    party.run(1)
    raw = dialled(party)
    raw.say(*[Text(identifier(number), "flood", "home") for number in range(300)])
    party.run(5)
    texts = anna.texts("network:home")
    assert texts[0] == "precious"
    assert len(texts) == 11


def test_octets_have_a_cap(party: Party) -> None:
    party.close("anna")
    anna = party.open("anna", size=200_000)
    party.persons["ben"].send("anna", "precious")
    party.run(1)
    raw = dialled(party)
    raw.say(*[Text(identifier(number), "x" * 8000) for number in range(100)])
    party.run(60)
    assert anna.texts("ben") == ["precious"]
    assert sum(len(text) for text in anna.texts("eve")) < 200_000
