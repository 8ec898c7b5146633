"""A PostgreSQL server of the tests' own: a new data folder, a Unix socket in it, no port."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

PROGRAMS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/libexec/postgresql*")
"""Where systems keep the server's programs, for their wrappers alone; the newest is taken."""
ORDINARY = ("postgres", "nobody")
"""Who runs the server where the tests run as root, as whom it refuses to run."""
SETTINGS = """
listen_addresses = ''
unix_socket_directories = '{folder}'
fsync = off
full_page_writes = off
autovacuum = off
shared_buffers = 16MB
max_connections = 20
"""
START_TIMEOUT = 120
"""Seconds: the machine may have other work."""


def programs() -> Path | None:
    """The folder of ``initdb``, ``pg_ctl`` and ``postgres``, or None."""
    on_path = shutil.which("initdb")
    found = [Path(on_path).resolve().parent] if on_path else []
    for pattern in PROGRAMS:
        found += [one for one in Path("/").glob(pattern[1:]) if (one / "initdb").exists()]
    return max((one for one in found if (one / "pg_ctl").exists()), key=_version, default=None)


def _version(folder: Path) -> int:
    told = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, timeout=START_TIMEOUT).stdout
    return int("".join(part for part in told.partition(".")[0] if part.isdigit()) or 0)


def unavailable() -> str | None:
    """Why there can be no server here, or None."""
    if importlib.util.find_spec("psycopg") is None:
        return "psycopg is not installed"
    if programs() is None:
        return "the program initdb of PostgreSQL is missing"
    if os.geteuid() == 0 and _ordinary() is None:
        return f"PostgreSQL does not run as root, and there is no user {' or '.join(ORDINARY)}"
    return None


def _ordinary() -> pwd.struct_passwd | None:
    known = {one.pw_name: one for one in pwd.getpwall()}
    return next((known[name] for name in ORDINARY if name in known), None)


class Server:
    """One server, started. ``fresh`` makes databases; ``stop`` and ``start`` are an outage."""

    def __init__(self) -> None:
        bin_folder = programs()
        assert bin_folder is not None
        self._bin = bin_folder
        self._user: dict[str, Any] = {}
        self._folder = Path(tempfile.mkdtemp(prefix="userlan-pg-"))     # short: the path of a socket has 107 characters
        self._data = self._folder / "data"
        ordinary = _ordinary() if os.geteuid() == 0 else None
        if ordinary is not None:
            os.chown(self._folder, ordinary.pw_uid, ordinary.pw_gid)
            self._user = {"user": ordinary.pw_uid, "group": ordinary.pw_gid, "extra_groups": ()}
        self._count = 0
        try:
            self._initialise()
            self.start()
        except BaseException:
            self.close()
            raise

    def _initialise(self) -> None:
        """With a language that does not sort by code point, where the server was built with one."""
        linguistic = ["--locale-provider=icu", "--icu-locale=en-US"] if "--icu-locale" in self._run("initdb", "--help") else []
        quick = ["--no-sync", "--no-instructions"]
        self._run("initdb", "-D", str(self._data), "-U", "userlan", "--auth=trust", "--encoding=UTF8", "--no-locale", *quick, *linguistic)
        with (self._data / "postgresql.conf").open("a") as settings:
            settings.write(SETTINGS.format(folder=self._folder))

    def _run(self, program: str, *arguments: str) -> str:
        log = self._folder / "output"
        with log.open("w") as output:       # a file, not a pipe: the server that pg_ctl starts keeps it open
            command = [str(self._bin / program), *arguments]
            done = subprocess.run(command, stdout=output, stderr=output, cwd=self._folder, timeout=START_TIMEOUT, **self._user)
        told = log.read_text(errors="replace")
        assert done.returncode == 0, f"{program}: {told}"
        return told

    def start(self) -> None:
        """It takes connections when this returns."""
        self._run("pg_ctl", "-D", str(self._data), "-l", str(self._folder / "log"), "-t", str(START_TIMEOUT), "-w", "start")

    def stop(self) -> None:
        """All connections break, without a goodbye."""
        self._run("pg_ctl", "-D", str(self._data), "-t", str(START_TIMEOUT), "-m", "immediate", "-w", "stop")

    @property
    def running(self) -> bool:
        """Whether it was started and not stopped."""
        return (self._data / "postmaster.pid").exists()

    def fresh(self) -> str:
        """The URL of a new, empty database."""
        self._count += 1
        name = f"directory{self._count}"
        self.execute(self.url("postgres"), f"CREATE DATABASE {name}")
        return self.url(name)

    def url(self, database: str) -> str:
        """As somebody would write it behind ``--store``."""
        return f"postgresql://userlan@/{database}?host={self._folder}&connect_timeout={START_TIMEOUT}"

    @staticmethod
    def execute(url: str, *statements: str) -> None:
        """Statements of an administrator, each its own transaction."""
        engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))
        engine.dispose()

    def close(self) -> None:
        """It ends, and all of its files go."""
        if self.running:
            self.stop()
        shutil.rmtree(self._folder)
