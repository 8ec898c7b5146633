"""All programs of the table."""

from __future__ import annotations

from tests.lab.programs.bonjour import Zeroconf
from tests.lab.programs.bonjour_daemon import AvahiDaemon
from tests.lab.programs.broadcast import Broadcaster
from tests.lab.programs.link import Frames, PingEverybody
from tests.lab.programs.minidlna import MiniDLNA
from tests.lab.programs.openttd import OpenTTD
from tests.lab.programs.place import Program
from tests.lab.programs.samba import Samba
from tests.lab.programs.teeworlds import Teeworlds

PROGRAMS: tuple[Program, ...] = (
    AvahiDaemon(), Zeroconf(), MiniDLNA(), Samba(), OpenTTD(), Teeworlds(), Broadcaster(), PingEverybody(), Frames(),
)  # fmt: skip
