"""``userlan service``: with a real user manager of systemd, and what other managers would be given."""

from __future__ import annotations

import ast
import json
import os
import plistlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from tests.cli.user_manager import PATIENCE, UserManager, unavailable
from tests.lab.network import until
from userlan.cli.client import ApiError
from userlan.cli.main import cli
from userlan.cli.service_managers import find
from userlan.cli.service_units import Service, launchd_plist, systemd_quoted, systemd_unit, windows_task

HOSTILE = ["a b", "$HOME", "${HOME}", "%h%%", '"q"', "it's", "\\n", "", ";", "ä", "*"]
QUIET = """
proxy: {listen: none}
dns: {listen: none}
mdns: {enabled: no}
discovery: {enabled: no}
traversal: {port_mapping: no, lan_discovery: no}
log: {level: info}
"""
NO_MANAGER = {"PATH": os.environ["PATH"]}


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UserManager]:
    missing = unavailable()
    if missing:
        pytest.skip(missing)
    manager = UserManager(tmp_path_factory.mktemp("home"))
    yield manager
    manager.stop()


@pytest.fixture
def config(manager: UserManager) -> Path:
    path = manager.home / "my config.yaml"
    path.write_text(QUIET)
    return path


@pytest.mark.lab
def test_installed_reloaded_watched_and_removed(manager: UserManager, config: Path) -> None:
    before = manager.left()
    options = ("--config", str(config))
    told = manager.userlan(*options, "service", "install").stdout
    unit = manager.home / ".config/systemd/user/userlan.service"
    assert f"wrote {unit}" in told
    assert "started userlan" in told
    assert manager.show("userlan", "ActiveState") == "active"
    assert manager.show("userlan", "UnitFileState") == "enabled"
    until(lambda: "mediator connected" in manager.show("userlan", "StatusText"), PATIENCE, "it tells how it stands")
    assert json.loads(manager.userlan("status", "--json").stdout)["mediator"]["state"] == "connected"

    process = manager.show("userlan", "MainPID")
    manager.userlan(*options, "service", "install")
    assert manager.show("userlan", "MainPID") == process, "nothing new, nothing started anew"
    manager.systemctl("reload", "userlan")
    until(lambda: manager.show("userlan", "ActiveState") == "active", PATIENCE, "it has read its configuration again", 0.2)
    assert manager.show("userlan", "MainPID") == process
    status = json.loads(manager.userlan("service", "status", "--json").stdout)
    assert (status["installed"], status["running"], status["at_login"], status["links"]) == (True, True, True, True)
    assert f"process {process}: " in manager.userlan("service", "status").stdout

    override = unit.with_name("userlan.service.d") / "fast.conf"
    override.parent.mkdir()
    override.write_text("[Service]\nWatchdogSec=4\nTimeoutAbortSec=2\nRestartSec=0\n")
    manager.systemctl("daemon-reload")
    manager.systemctl("restart", "userlan")
    stopped = manager.show("userlan", "MainPID")
    manager.run("kill", "-STOP", stopped)
    until(lambda: int(manager.show("userlan", "NRestarts")) >= 1, PATIENCE, "the watchdog has it started anew", 0.2)
    until(lambda: manager.show("userlan", "ActiveState") == "active", PATIENCE, "it runs again", 0.2)
    assert manager.show("userlan", "MainPID") != stopped
    override.unlink()

    assert f"removed {unit}" in manager.userlan("service", "remove").stdout
    assert manager.show("userlan", "LoadState") == "not-found"
    assert manager.userlan("status", check=False).returncode == 1
    assert {path for path in manager.left() - before if not path.startswith(".local/share/userlan/")} == set()
    assert manager.userlan("service", "remove").stdout == "nothing is installed\n"
    assert manager.userlan("service", "status").stdout.startswith("userlan (systemd)  not installed: `userlan service install`\n")
    status = json.loads(manager.userlan("service", "status", "--json").stdout)
    assert (status["installed"], status["running"], status["text"]) == (False, False, "not installed")


@pytest.mark.lab
def test_a_node_that_runs_makes_room_and_another_folder_is_another_service(manager: UserManager, config: Path) -> None:
    state = manager.home / "a state"
    options = ("--state", str(state), "--config", str(config))
    manager.userlan(*options, "create", "home")
    assert "the service takes its place" in manager.userlan(*options, "service", "install", "--no-links").stdout
    status = json.loads(manager.userlan(*options, "service", "status", "--json").stdout)
    assert status["name"].startswith("userlan-a-state-")
    assert (status["running"], status["links"]) == (True, False)
    assert json.loads(manager.userlan(*options, "status", "--json").stdout)["networks"][0]["name"] == "home"
    assert "nothing is installed" in manager.userlan("service", "remove").stdout
    manager.userlan(*options, "service", "remove")
    assert manager.show(status["name"], "LoadState") == "not-found"


@pytest.mark.lab
def test_a_mediator(manager: UserManager) -> None:
    manager.userlan("service", "install", "--of", "mediator", "--", "--listen", "127.0.0.1:0")
    until(lambda: "0 nodes online" in manager.show("userlan-mediator", "StatusText"), PATIENCE, "the mediator serves")
    manager.userlan("service", "remove", "--of", "mediator")
    assert manager.show("userlan-mediator", "LoadState") == "not-found"


@pytest.mark.lab
def test_systemd_takes_apart_what_was_quoted(manager: UserManager) -> None:
    told = manager.home / "told"
    words = [sys.executable, "-c", f"import sys; open({str(told)!r}, 'w').write(repr(sys.argv[1:]))", *HOSTILE]
    unit = manager.home / ".config/systemd/user/words.service"
    unit.parent.mkdir(parents=True, exist_ok=True)
    unit.write_text(f"[Service]\nType=oneshot\nExecStart={' '.join(map(systemd_quoted, words))}\n")
    manager.systemctl("daemon-reload")
    manager.systemctl("start", "words")
    assert ast.literal_eval(told.read_text()) == HOSTILE
    unit.unlink()
    told.unlink()


def test_without_a_user_manager_the_next_step_is_said(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "userlan", "service"]
    environment = NO_MANAGER | {"HOME": str(tmp_path)}

    def userlan(*words: str) -> str:
        return subprocess.run([*command, *words], env=environment, capture_output=True, text=True, check=True, timeout=60).stdout

    told = userlan("install", "--no-links")
    assert (tmp_path / ".config/systemd/user/userlan.service").is_file()
    assert "systemctl --user enable --now userlan" in told
    assert "no user manager of systemd answers here" in userlan("status")
    assert "removed" in userlan("remove")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert "[Service]" in userlan("install", "--print")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_without_a_user_manager_the_node_that_runs_goes_on(tmp_path: Path) -> None:
    """Nothing would take its place."""
    (tmp_path / "config.yaml").write_text(QUIET + "page: {listen: none}\n")
    command = [sys.executable, "-m", "userlan", "--state", str(tmp_path / "state"), "--config", str(tmp_path / "config.yaml")]
    environment = NO_MANAGER | {"HOME": str(tmp_path)}
    with subprocess.Popen([*command, "up", "--listen", "127.0.0.1:0"], env=environment, stdout=subprocess.PIPE, text=True) as node:
        try:
            assert node.stdout is not None
            assert "ready" in node.stdout.readline()
            words = [*command, "service", "install", "--no-links"]
            installed = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60)
            assert "no user manager" in installed.stdout
            assert "stopped" not in installed.stdout
            assert node.poll() is None
            assert subprocess.run([*command, "status"], env=environment, capture_output=True, timeout=60).returncode == 0
        finally:
            node.terminate()
            node.wait(60)


def service(*command: str) -> Service:
    return Service("userlan", "userlan: a <test> 100%", command, Path("/home/a b/node.log"))


def test_the_unit_is_what_systemd_calls_good(tmp_path: Path) -> None:
    path = tmp_path / "userlan.service"
    path.write_text(systemd_unit(service("/bin/sh", "-c", "echo $1 %h", "a b")))
    environment = {"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(
        ["systemd-analyze", "--user", "--man=no", "verify", str(path)], env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, [line for line in done.stderr.splitlines() if "userlan.service" in line]) == (0, [])


def test_what_no_unit_can_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="characters that a unit cannot"):
        systemd_unit(service("/bin/true", "a\nExecStartPost=/bin/evil"))


def test_launchd_and_the_task_scheduler_get_the_same_words() -> None:
    command = ("/opt/user lan/bin/userlan", "--state", "/home/a b", *HOSTILE)
    assert plistlib.loads(launchd_plist(service(*command)))["ProgramArguments"] == list(command)
    task = ElementTree.fromstring(windows_task(service(*command), "HOME\\a&b").decode("utf-16"))
    space = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"
    assert task.findtext(f".//{space}Command") == command[0]
    assert task.findtext(f".//{space}Arguments") == subprocess.list2cmdline(command[1:])
    assert {one.text for one in task.iter(f"{space}UserId")} == {"HOME\\a&b"}


@pytest.mark.parametrize(
    ("words", "why"),
    [(("--of", "mediator", "--", "--lisen", "127.0.0.1:0"), "--lisen"), (("--of", "relay"), "--of relay -- --mediator URL"), (("x",), "x")],
)
def test_wrong_options_are_refused_now_and_not_at_the_next_login(tmp_path: Path, words: tuple[str, ...], why: str) -> None:
    done = CliRunner().invoke(cli, ["service", "install", "--print", *words], env={"HOME": str(tmp_path)})
    assert done.exit_code == 2
    assert why in done.output


@pytest.mark.parametrize(
    ("state", "name"), [("", "userlan.service"), ("/srv/one/my node", "userlan-my-node-"), ("/srv/two/my node", "userlan-my-node-")]
)
def test_each_state_folder_is_a_service_however_it_was_named(tmp_path: Path, state: str, name: str) -> None:
    by_variable = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "USERLAN_STATE": state or None}
    shown = CliRunner().invoke(cli, ["service", "install", "--print", "--no-links"], env=by_variable).output
    assert f"/systemd/user/{name}" in shown
    if state:
        assert f'--state "{state}" up' in shown
        by_option = CliRunner().invoke(
            cli, ["--state", state, "service", "install", "--print", "--no-links"], env={**by_variable, "USERLAN_STATE": None}
        )
        assert by_option.output == shown


def test_no_manager_that_is_known_is_said(tmp_path: Path) -> None:
    with pytest.raises(ApiError, match="have your system start"):
        find({"PATH": str(tmp_path)})
