"""Members inside another program: what it is told when something is wrong, and two of them in one process."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import userlan

PROGRAM = '''
import sys
from pathlib import Path
from twisted.internet import protocol, task
from twisted.internet.defer import Deferred, ensureDeferred
import userlan
import userlan.app.embedding as embedding

folder = Path(sys.argv[1])
HERE = ["127.0.0.1:0"]

async def refused(awaitable):
    try:
        await awaitable
    except userlan.EmbeddingError as error:
        return str(error)
    return "nothing was refused"

class Echo(protocol.Protocol):
    def dataReceived(self, data):
        self.transport.write(data)

class Ask(protocol.Protocol):
    def __init__(self):
        self.answer = Deferred()
    def connectionMade(self):
        self.transport.write(b"over the LAN")
    def dataReceived(self, data):
        self.answer.callback(data)

async def main(reactor):
{body}

task.react(lambda reactor: ensureDeferred(main(reactor)))
'''


def run(body: str, folder: Path) -> list[str]:
    """What a program prints, line by line."""
    source = PROGRAM.replace("{body}", textwrap.indent(textwrap.dedent(body), "    "))
    done = subprocess.run([sys.executable, "-W", "error", "-c", source, str(folder)], capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "Unhandled" not in done.stderr
    return done.stdout.splitlines()


def test_public_names() -> None:
    """The package has its public names, fetched when asked for, and no others."""
    assert {name for name in userlan.__all__ if getattr(userlan, name) is not None} == set(userlan.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nobody'"):
        _ = userlan.Nobody


@pytest.mark.parametrize("wrong", [{"mediator": "http://x"}, {"listen": ["nowhere"]}])
def test_a_mistake_is_told_at_once(wrong: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        userlan.Member(None, tmp_path, **wrong)     # type: ignore[arg-type]  # the mistakes are meant
    assert not list(tmp_path.iterdir())


def test_two_members_in_one_process(tmp_path: Path) -> None:
    """They meet, talk, leave, and the reactor goes on; each has its own folder, which a second member cannot have."""
    told = run(
        """
        async with userlan.Member(reactor, folder / "a", name="anna", listen=HERE, embedded_mediator=True) as anna:
            invite = await anna.create("home")
            async with userlan.Member(reactor, folder / "b", name="ben", listen=HERE) as ben:
                await ben.join(invite)
                await ben.join(invite)
                await anna.server_endpoint(7).listen(protocol.Factory.forProtocol(Echo))
                ask = await ben.client_endpoint("anna", 7).connect(protocol.Factory.forProtocol(Ask))
                print((await ask.answer).decode())
                print(ben.networks, [peer.name for peer in ben.members], anna.own.name, sorted(ben.status())[:3])
                print(await refused(userlan.Member(reactor, folder / "b").start()))
                print(await refused(ben.join("userlan://nonsense")))
                print(await refused(ben.start()))
                await ben.leave("home")
                print(ben.networks)
            print(await refused(ben.leave("home")))
        await task.deferLater(reactor, 0.1, lambda: print("the reactor turns"))
        """,
        tmp_path,
    )
    assert told[0] == "over the LAN"
    assert told[1].startswith("['home'] ['anna'] anna ['bridges'")
    assert "is held by another userlan" in told[2]
    assert "userlan://" in told[3]
    assert told[4] == "this member has been started already"
    assert told[5:] == ["[]", "this member has not been started", "the reactor turns"]


def test_no_mediator_answers(tmp_path: Path) -> None:
    """The start fails with one line that says why, and the folder is free again."""
    told = run(
        """
        embedding.START_TIMEOUT = 1.0
        nobody = "userlan://127.0.0.1:9/" + "A" * 42 + "E"
        for _ in range(2):
            print(await refused(userlan.Member(reactor, folder / "a", mediator=nobody, listen=HERE).start()))
        """,
        tmp_path,
    )
    assert len(told) == 2
    assert "mediator" in told[0]
    assert told[0] == told[1]


def test_a_member_that_is_stopped_while_it_starts(tmp_path: Path) -> None:
    """The start fails, and nothing of it goes on afterwards."""
    told = run(
        """
        from bridges.chat import ChatBridge

        member = userlan.Member(reactor, folder / "a", listen=HERE, embedded_mediator=True, bridges={"chat": ChatBridge})
        starting = member.start()
        await member.stop()
        print(await refused(starting))
        print([call.func.__qualname__ for call in reactor.getDelayedCalls() if "Ways" in call.func.__qualname__])
        async with userlan.Member(reactor, folder / "a", listen=HERE, embedded_mediator=True, bridges={"chat": ChatBridge}) as again:
            print(again.status()["bridges"])
        """,
        tmp_path,
    )
    assert told == ["this member was stopped before it was ready", "[]", "{'chat': None}"]


def test_a_bridge_that_cannot_start(tmp_path: Path) -> None:
    """It is told in one line, and its threads keep the program from ending no more than those of the others."""
    told = run(
        """
        from bridges.files import FilesBridge

        class Again(FilesBridge):
            name = "again"

        member = userlan.Member(reactor, folder / "a", listen=HERE, bridges={"files": FilesBridge, "again": Again})
        print(await refused(member.start()))
        """,
        tmp_path,
    )
    assert len(told) == 1
    assert told[0].startswith("files: port 41416 of the LAN cannot be listened at")


def test_exposed_at_the_ports_of_the_program_itself(tmp_path: Path) -> None:
    """What was exposed there before, by whatever version, keeps no node from starting: chat and files have their ports."""
    told = run(
        """
        from bridges.chat import ChatBridge
        from bridges.expose import ExposeBridge
        from bridges.files import FilesBridge

        (folder / "a").mkdir()
        (folder / "a" / "expose.json").write_text('[{"service": "9", "as": 41415}, {"service": "41416"}]')
        bridges = {"expose": ExposeBridge, "chat": ChatBridge, "files": FilesBridge}
        async with userlan.Member(reactor, folder / "a", listen=HERE, embedded_mediator=True, bridges=bridges) as anna:
            told = anna.status()["bridges"]
            print(*(one["state"] for one in told["expose"]), told["chat"])
        """,
        tmp_path,
    )
    assert told == ["failed failed None"]


def test_a_network_whose_owner_approves(tmp_path: Path) -> None:
    """Who joins is told that it waits, each time that it asks; once it is approved it is a member without asking again."""
    told = run(
        """
        from twisted.internet.threads import deferToThread
        from userlan.cli.client import call

        async with userlan.Member(reactor, folder / "a", name="anna", listen=HERE, embedded_mediator=True) as anna:
            made = await deferToThread(call, folder / "a", "create", network="home", approval=True)
            async with userlan.Member(reactor, folder / "b", name="ben", listen=HERE) as ben:
                for _ in range(2):
                    try:
                        await ben.join(made["invite"])
                    except userlan.WaitingError as error:
                        print(error)
                print(ben.networks)
                admitted = Deferred()
                ben.lan.observe(lambda: ben.networks and not admitted.called and admitted.callback(None))
                await deferToThread(call, folder / "a", "approve", member="ben")
                await admitted
                print(ben.networks, await ben.join(made["invite"]))
        """,
        tmp_path,
    )
    assert told == ["asked to join home; its owner (anna) has to approve"] * 2 + ["[]", "['home'] None"]
