"""What a person sees of a message and of an applicant: real nodes, a real bus, a real server of notices."""

from __future__ import annotations

from pathlib import Path

from tests.bridges.desktop_session import PATIENCE, Session
from tests.cli.two_nodes import Nodes
from tests.lab.network import until


def test_a_message_is_shown_and_taken_away_when_it_is_read(tmp_path: Path) -> None:
    session = Session(tmp_path)
    try:
        (tmp_path / "nodes").mkdir()
        nodes = Nodes(tmp_path / "nodes", session.environment)
        try:
            nodes.call("ben", "chat-send", to="anna", text="shall we <b>play</b>?\x1b[2J")
            until(session.shown, PATIENCE, "it is shown")
            number, title, body = session.shown()[0]
            assert (title, body) == ("ben", "shall we &lt;b&gt;play&lt;/b&gt;?[2J")
            (conversation,) = nodes.call("anna", "chat-conversations")
            assert session.closed() == []
            nodes.call("anna", "chat-read", conversation=conversation["id"])
            until(lambda: session.closed() == [number], PATIENCE, "it is taken away")
        finally:
            nodes.stop()
    finally:
        session.stop()
