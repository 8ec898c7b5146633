"""What the managers of services are given to start a program at login: a systemd unit, a launchd property list, a Windows task."""

from __future__ import annotations

import plistlib
import subprocess
from pathlib import Path
from xml.sax.saxutils import escape

import attrs

WATCHDOG = 60
"""Seconds without a sign of life after which systemd starts the program anew: many times what a burst of work may hold up the reactor."""
RESTART = 5
"""Seconds from a failure to the next start."""
FAMILIES = "AF_UNIX AF_INET AF_INET6 AF_NETLINK"
"""Sockets that a program opens: local ones, the Internet's, and the kernel's list of this computer's addresses."""


@attrs.frozen
class Service:
    """A program that is started at login."""

    name: str
    """As its manager knows it: ``userlan``, ``userlan-mediator`` …"""
    title: str
    command: tuple[str, ...]
    """Absolute, with every option."""
    log: Path
    """Where its messages go where the manager has no journal."""


def systemd_unit(service: Service) -> str:
    """A unit of the user's own manager (systemd.service(5)). What needs mount namespaces is left out: not every kernel gives them to
    users, and a unit that asks for them in vain does not start. So is what a file manager that the node opens would miss."""
    return f"""# Written by `userlan service install`; `userlan service remove` removes it.
[Unit]
Description={service.title.replace("%", "%%")}

[Service]
Type=notify
ExecStart={" ".join(map(systemd_quoted, service.command))}
ExecReload=/bin/kill -HUP $MAINPID
WatchdogSec={WATCHDOG}
Restart=on-failure
RestartSec={RESTART}
TimeoutStopSec=30
NoNewPrivileges=yes
LockPersonality=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies={FAMILIES}

[Install]
WantedBy=default.target
"""


def systemd_quoted(word: str) -> str:
    """A word of a command line ("Command lines" in systemd.service(5)); ValueError for one that no unit can hold."""
    if not word.isprintable():
        raise ValueError(f"{word!r} holds characters that a unit cannot")
    for special, written in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        word = word.replace(special, written)
    return f'"{word}"' if not word or not all(one.isalnum() or one in "/_-.:=@+,%" for one in word) else word


def launchd_plist(service: Service) -> bytes:
    """A property list of an agent (launchd.plist(5))."""
    return plistlib.dumps(
        {
            "Label": service.name,
            "ProgramArguments": list(service.command),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": RESTART,
            "ProcessType": "Interactive",
            "StandardOutPath": str(service.log),
            "StandardErrorPath": str(service.log),
            "WorkingDirectory": "/",
        }
    )


def windows_task(service: Service, user: str) -> bytes:
    """A task for the logon of one user (Task Scheduler's schema 1.2), as ``schtasks /Create /XML`` reads it: UTF-16."""
    command, *arguments = service.command
    text = f"""<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo><Description>{escape(service.title)}</Description></RegistrationInfo>
  <Triggers><LogonTrigger><Enabled>true</Enabled><UserId>{escape(user)}</UserId></LogonTrigger></Triggers>
  <Principals><Principal id="Author"><UserId>{escape(user)}</UserId><LogonType>InteractiveToken</LogonType>
    <RunLevel>LeastPrivilege</RunLevel></Principal></Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <RestartOnFailure><Interval>PT1M</Interval><Count>999</Count></RestartOnFailure>
  </Settings>
  <Actions Context="Author"><Exec><Command>{escape(command)}</Command>
    <Arguments>{escape(subprocess.list2cmdline(arguments))}</Arguments></Exec></Actions>
</Task>
"""
    return text.encode("utf-16")
