"""Every case in ``scripts/``, and that a script fails where it should."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stack.tcp.lines import cases
from tests.stack.tcp.script import ScriptError, run

SCRIPTS = Path(__file__).with_name("scripts")
CASES = [(path.name, name, text) for path in sorted(SCRIPTS.glob("*.txt")) for name, text in cases(path)]


@pytest.mark.parametrize(("file", "name", "text"), CASES, ids=[f"{file}: {name}" for file, name, _ in CASES])
def test_script(file: str, name: str, text: str) -> None:
    run(text, f"{file} ({name})")


GOOD = """\
peer mss=1000 wscale=3 sackOK ts win=60000
established
     call send 2500
     > PA 0:2500 ack 0 unit 988 ts 0/0
+.01 < A 0 ack 2500
     expect cwnd > 2500
+.10 < PA 0:500 ack 2500 ce
     < PA 500:900 ack 2500
+.04 > A 2500 ack 900
     event READABLE
     call read -> 900
     state ESTABLISHED
     error none
"""


def test_a_script_that_is_right() -> None:
    script = run(GOOD)
    assert script.connection is not None
    assert script.connection.unsent == 0


@pytest.mark.parametrize(
    ("right", "wrong", "reason"),
    [
        ("> PA 0:2500", "> PA 0:2400", "octets: (0, 2400) expected, (0, 2500) left"),
        ("> PA 0:2500", "> A 0:2500", "flags: A expected, PA left"),
        ("> PA 0:2500 ack 0 unit 988", "> PA 0:2500 ack 1", "ack: 1 expected, 0 left"),
        ("unit 988", "unit 1000", "unit: 1000 expected, 988 left"),
        ("ts 0/0", "ts 0/7", "ts: echo 7 expected, 0 left"),
        ("unit 988", "unit 988 ect0", "ecn: ect0 expected, not-ect left"),
        ("     > PA 0:2500 ack 0 unit 988 ts 0/0\n", "", "left at 0.000000, and no line before this one expects it"),
        ("+.04 > A 2500 ack 900", "+.03 > A 2500 ack 900", "nothing left at this instant"),
        ("+.04 > A 2500 ack 900", "+.05 > A 2500 ack 900", "left at 0.150000, and no line before"),
        ("+.04 > A 2500 ack 900", "+.04 > A 2500 ack 900\n     > A 2500 ack 900", "nothing left at this instant"),
        ("+.04 > A 2500 ack 900\n", "+.01\n", "event is set()"),
        ("expect cwnd > 2500", "expect cwnd = 2500", "cwnd is "),
        ("event READABLE", "event EOF", "event is {'READABLE'}"),
        ("-> 900", "-> 901", "900 octets were read"),
        ("state ESTABLISHED", "state CLOSED", "state is 'ESTABLISHED'"),
        ("error none", "error reset", "error is 'none'"),
        ("error none", "call frobnicate", "no such call"),
        ("error none", "0.1 quiet", "is before"),
        ("< A 0 ack 2500", "< A 0 akk 2500", "no such word in a segment: 'akk'"),
        ("expect cwnd > 2500", "expect flights > 2500", "no such value: flights"),
    ],
)
def test_a_script_that_is_wrong(right: str, wrong: str, reason: str) -> None:
    assert right in GOOD
    text = GOOD.replace(right, wrong, 1)
    if "event is set()" in reason:
        text = text.replace("     < PA 500:900 ack 2500\n", "").replace("+.10 < PA 0:500 ack 2500 ce\n", "")
    with pytest.raises(ScriptError) as failure:
        run(text, "wrong")
    assert reason in str(failure.value)


def test_a_failure_names_the_line_and_shows_what_went_before() -> None:
    with pytest.raises(ScriptError) as failure:
        run(GOOD.replace("> A 2500 ack 900", "> A 2500 ack 800"), "example")
    lines = str(failure.value).splitlines()
    assert lines[0] == "example:9: +.04 > A 2500 ack 800"
    assert "ack: 800 expected, 900 left" in lines[1]
    assert lines[2].strip().startswith("left: > A 2500 ack 900 win ")
    assert [line.split()[1:4] for line in lines[-4:]] == [
        ["<", "A", "0"],
        ["<", "PA", "0:500"],
        ["<", "PA", "500:900"],
        [">", "A", "2500"],
    ]


def test_other_octets_than_those_of_the_stream_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from userlan.stack.tcp.send_buffer import SendBuffer

    original = SendBuffer.slice
    monkeypatch.setattr(SendBuffer, "slice", lambda buffer, start, length: bytes(original(buffer, start, length))[::-1])
    with pytest.raises(ScriptError, match="other octets than the stream has there"):
        run(GOOD)
