"""What is wrong with this computer, whether a node runs or not."""

from __future__ import annotations

import re
from collections.abc import Iterator

from userlan.cli.doctor.finding import Computer, Finding, FirewallRule, Scene, note, unseen, wrong
from userlan.cli.output import byte_count
from userlan.driver.sockets import Socket
from userlan.lan.hostport import join_host_port

LEAST_FREE = 16 << 20
"""Octets of the disk below which a node may fail to save what it knows."""
MDNS_PORT = 5353
LIST = "sudo nft -a list ruleset"

_COMMAND = re.compile(r"`([^`]+)`")
_LOOPBACK = re.compile(r"""\b[io]if(?:name)? (?:\{[^}]*)?(?:"lo"|\blo\b)|(?<!! )-[io] lo\b""")
_ALL_LOOPBACK = re.compile(r"""(?:[io]if(?:name)? "?lo"?|-[io] lo) (?:counter(?: packets \d+ bytes \d+)? )?(?:drop|reject\b.*)""")
_TO_MANY = re.compile(r"pkttype|--pkt-type|\b22[4-9]\.|\b23[0-9]\.|\b255\.255\.255\.255\b|\bff0[0-9a-f]::|\bff00::")


def command_in(text: str) -> str:
    """The first command that a text names between backquotes."""
    found = _COMMAND.search(text)
    return found[1] if found is not None else ""


def not_running(scene: Scene) -> Iterator[Finding]:
    if scene.mute:
        yield wrong("node-mute", "a node runs, and cannot be asked", scene.mute, "userlan down && userlan up")
    elif scene.node is None:
        log = scene.computer.folder.log_end
        said = f"; the last line of its log: {log}" if log else ""
        yield wrong("node-not-running", "no node runs: this computer is not in the LAN", f"{scene.absent}{said}", "userlan up")


def state_folder(scene: Scene) -> Iterator[Finding]:
    folder = scene.computer.folder
    if not folder.own:
        yield wrong("state-foreign", "the state folder belongs to another user", folder.path, "userlan --state FOLDER up")
    elif not folder.writable:
        yield wrong("state-not-writable", "nothing can be written to the state folder", folder.path, f"chmod u+rwx '{folder.path}'")
    elif folder.open_to_others:
        yield note("state-open", "others on this computer can look into the state folder", folder.path, f"chmod 700 '{folder.path}'")
    if folder.free < LEAST_FREE:
        yield wrong("disk-full", "the disk of the state folder is full", f"{byte_count(folder.free)} are free", f"df -h '{folder.path}'")
    if scene.node is None and not scene.mute and folder.holder:
        evidence = f"process {folder.holder} holds {folder.path} and does not answer"
        yield wrong("state-held", "a node runs that does not answer", evidence, f"kill {folder.holder}")
    if folder.damaged:
        yield note("state-damaged", "what was kept could not be read, and was set aside", ", ".join(folder.damaged))


def configuration(scene: Scene) -> Iterator[Finding]:
    mistakes = scene.computer.mistakes
    if mistakes:
        more = f" (and {len(mistakes) - 1} more)" if len(mistakes) > 1 else ""
        yield wrong("config-wrong", "the configuration is wrong: no node starts with it", mistakes[0] + more, "userlan config check")


def ports(scene: Scene) -> Iterator[Finding]:
    """Before a node starts: with one that runs, its bridges tell what they have not got."""
    if scene.node is not None or scene.mute or scene.computer.folder.holder:
        return
    told: set[tuple[str, int]] = set()
    for wanted in scene.computer.wanted:
        held = next((one for one in scene.computer.holders(wanted.port, wanted.protocol) if collide(wanted.host, one)), None)
        if held is None or (wanted.key, wanted.port) in told:
            continue
        told.add((wanted.key, wanted.port))
        what = f"port {wanted.port}/{wanted.protocol} ({wanted.key}) is taken"
        if wanted.must:
            yield wrong("port-taken", f"{what}: the node does not start", f"by {held.holder}", f"set {wanted.key} to another port")
        else:
            yield note("port-taken", f"{what}: another one will be used", f"by {held.holder}")


def collide(host: str, held: Socket) -> bool:
    """Whether a socket hinders another one from having the same port at ``host``."""
    wide = ("0.0.0.0", "::")
    if (":" in host) != (":" in held.host):
        return held.host == "::" or host == "::"
    return host == held.host or host in wide or held.host in wide


def interfaces(scene: Scene) -> Iterator[Finding]:
    computer = scene.computer
    if not computer.addresses:
        what = "this computer has no IPv4 address but those of loopback: nothing outside of it is reached by IPv4"
        yield note("no-address", what, "programs of this computer are found by loopback all the same", "ip address")
    if not computer.loopback_up:
        yield wrong("loopback-down", "the loopback interface is down: nothing reaches local programs", "lo is not UP",
                    "sudo ip link set lo up")


def aliases(scene: Scene) -> Iterator[Finding]:
    if not scene.computer.aliases:
        what = "loopback aliases cannot be bound: all peers are seen at 127.0.0.1, at other ports than their own"
        remedy = "" if scene.computer.linux else "sudo ifconfig lo0 alias 127.A.B.C up   (the peer's 25.A.B.C)"
        yield note("no-aliases", what, "127.1.2.3 is refused by this system", remedy)


def run_possible(scene: Scene) -> Iterator[Finding]:
    computer = scene.computer
    if computer.namespaces:
        yield note("run-impossible", "`userlan run` is impossible here", computer.namespaces, command_in(computer.namespaces))
    elif computer.tun:
        yield note("no-tun", "`userlan tap` needs a device that cannot be opened", computer.tun, "sudo modprobe tun")


def avahi(scene: Scene) -> Iterator[Finding]:
    running = any(one.everywhere for one in scene.computer.holders(MDNS_PORT, "udp"))
    server = scene.computer.avahi if running else {}
    edit = "sudoedit /etc/avahi/avahi-daemon.conf && sudo systemctl restart avahi-daemon"
    if server.get("check-response-ttl") == "yes":
        what = "avahi ignores what members announce, as it is told to this computer alone with a time to live of 0"
        yield wrong("avahi-ttl", what, "check-response-ttl=yes in avahi-daemon.conf; it has to be no", edit)
    if server.get("disallow-other-stacks") == "yes":
        yield wrong("avahi-alone", "avahi lets no other program hear multicast DNS", "disallow-other-stacks=yes in avahi-daemon.conf", edit)


def firewall(scene: Scene) -> Iterator[Finding]:
    computer = scene.computer
    if computer.firewall_hidden:
        yield unseen("firewall-hidden", "the firewall: cannot look", computer.firewall_hidden, "sudo userlan doctor")
    interesting = re.compile("|".join(rf"(?<![\d.]){port}(?![\d.])" for port in sorted(_ports(scene))) or "(?!)")
    for rule in computer.firewall:
        yield from _judged(rule, interesting, _attached(scene))


def _judged(rule: FirewallRule, ports: re.Pattern[str], attached: str) -> Iterator[Finding]:
    if rule.everything:
        if not any(_LOOPBACK.search(one) or one in ("accept", "-j accept") for one in rule.accepts):
            what = "the firewall drops what programs of this computer send each other"
            yield wrong("firewall-loopback", what, f"{rule.text} ({rule.hook}), and nothing lets lo in before it", _allow(rule.hook, "lo"))
        if attached and rule.hook == "input" and not any(attached in one for one in rule.accepts):
            what = f"the firewall drops what members send to this computer at {attached}"
            yield wrong("firewall-tap", what, f"{rule.text} (input)", _allow("input", attached))
    elif _LOOPBACK.search(rule.text):
        every = _ALL_LOOPBACK.fullmatch(rule.text) is not None
        what = f"the firewall drops {'' if every else 'some of '}what programs of this computer send each other"
        yield (wrong if every else note)("firewall-loopback", what, f"{rule.hook}: {rule.text}", LIST)
    elif _TO_MANY.search(rule.text):
        yield note("firewall-groups", "the firewall drops broadcasts or multicasts", f"{rule.hook}: {rule.text}", LIST)
    elif ports.search(rule.text):
        yield note("firewall-port", "the firewall drops packets of a port that is used", f"{rule.hook}: {rule.text}", LIST)


def _allow(hook: str, interface: str) -> str:
    key = "iifname" if hook == "input" else "oifname"
    return f"sudo nft insert rule inet filter {hook} {key} {interface} accept   (your table and chain)"


def _ports(scene: Scene) -> set[int]:
    """Ports whose packets matter here: the node's, multicast DNS's, and those of the service that is asked for."""
    found = {MDNS_PORT, *(one.port for one in scene.computer.wanted if one.key == "listen")}
    if scene.node is not None:
        found.add(scene.told["port"])
        rows = scene.bridge("discovery").get("profiles", ())
        found.update(port for row in rows if row["profile"] == scene.service for port in row["ports"])
    if scene.service.isdecimal():
        found.add(int(scene.service))
    return found


def _attached(scene: Scene) -> str:
    """The interface by which this computer is in the LAN; empty when it is not."""
    tap = scene.status["bridges"].get("tap") if scene.node is not None else None
    return str(tap["name"]) if isinstance(tap, dict) else ""


def bound_elsewhere(computer: Computer, port: int, protocol: str, everybody: bool = False) -> Iterator[Finding]:
    """A local server on a port that hears nothing of what comes to 127.0.0.1 (``everybody``: to everybody), because of where it listens.

    What comes to everybody is heard by sockets of all addresses, and of the broadcast's or group's own.
    """
    held = computer.holders(port, protocol)
    if (protocol, port) in computer.only_ipv6:
        one = next(held for held in held if held.host == "::")
        what = f"what listens on port {port}/{protocol} has IPv6 alone, and is reached by IPv4"
        yield wrong("only-ipv6", what, f"{one.holder} listens on [::], IPv6 only", "have it listen on 0.0.0.0, too")
    elif held and not any(one.everywhere or (one.of_many if everybody else one.host == "127.0.0.1") for one in held):
        one = held[0]
        what = f"what listens on port {port}/{protocol} takes what comes to one address alone"
        remedy = "have it listen on all addresses (0.0.0.0)"
        yield wrong("bound-elsewhere", what, f"{one.holder} listens on {join_host_port(one.host, one.port)}", remedy)


RULES = {
    "the node runs": not_running,
    "the state folder": state_folder,
    "the configuration": configuration,
    "the node's ports": ports,
    "interfaces": interfaces,
    "loopback aliases": aliases,
    "namespaces and /dev/net/tun": run_possible,
    "avahi": avahi,
    "the firewall": firewall,
}
