"""Which rules of this computer's firewall drop packets, read from what ``nft list ruleset`` and ``iptables-save`` print.

Only what is to be judged is taken: the chains that hang at input and output, their policy, and the rules that drop or refuse, in
those and in the chains that they jump to. A rule is kept as the system writes it, since that is what people find again.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator

from userlan.cli.doctor.finding import FirewallRule

PATIENCE = 5.0
"""Seconds for a program that prints rules."""
MAX_RULES = 200
"""Dropping rules that are looked at: who has more has them made by a program."""

_CHAIN = re.compile(r"chain (\S+) \{")
_HOOK = re.compile(r"hook (input|output)\b.*?policy (\w+);")
_DROPS = re.compile(r"\b(?:drop|reject)\b")
_ACCEPTS = re.compile(r"\baccept\b")
_JUMP = re.compile(r"\b(?:jump|goto) (\S+)")
_BARE_JUMP = re.compile(r"(?:counter(?: packets \d+ bytes \d+)? )?(?:jump|goto) \S+")
_UNCONDITIONAL = re.compile(r"(?:counter(?: packets \d+ bytes \d+)? )?(?:drop|reject\b.*)")


def from_nft(text: str) -> tuple[FirewallRule, ...]:
    """What drops, of ``nft list ruleset``."""
    found: list[FirewallRule] = []
    for table in re.split(r"(?m)^table ", text)[1:]:
        chains: dict[str, list[str]] = {}
        lines: list[str] = []
        for line in (line.strip() for line in table.splitlines()):
            begins = _CHAIN.match(line)
            if begins is not None:
                lines = chains.setdefault(begins[1], [])
            elif line == "}":
                lines = []
            elif line:
                lines.append(line)
        for name, rules in chains.items():
            hook = _HOOK.search(" ".join(rules[:1]))
            if hook is not None:
                found += _of_chain(hook[1], f"chain {name}: policy {hook[2]}", hook[2] == "drop", name, chains)
    return tuple(found[:MAX_RULES])


def _of_chain(hook: str, policy: str, drops: bool, name: str, chains: dict[str, list[str]]) -> Iterator[FirewallRule]:
    rules = list(_rules(name, chains, set()))
    accepts = tuple(rule for rule in rules if _ACCEPTS.search(rule))
    for rule in rules:
        if _DROPS.search(rule):
            everything = _UNCONDITIONAL.fullmatch(rule) is not None
            yield FirewallRule(hook, rule, everything, accepts if everything else ())
    if drops:
        yield FirewallRule(hook, policy, True, accepts)


def _rules(name: str, chains: dict[str, list[str]], seen: set[str]) -> Iterator[str]:
    """The rules of a chain and of those that it jumps to, each behind the jump where that has a condition, or some come back from it."""
    if name in seen:
        return
    seen.add(name)
    for rule in chains.get(name, ()):
        jump = _JUMP.search(rule)
        if jump is not None:
            bare = _BARE_JUMP.fullmatch(rule) is not None and not any("return" in one.split() for one in chains.get(jump[1], ()))
            condition = "" if bare else f"{rule}: "
            yield from (condition + one for one in _rules(jump[1], chains, seen))
        elif not _HOOK.search(rule):
            yield rule


def from_iptables(text: str) -> tuple[FirewallRule, ...]:
    """What drops, of ``iptables-save -t filter``: written over into nft's words for the verdicts, the rule's text kept otherwise."""
    policies: dict[str, str] = {}
    chains: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith(":"):
            name, policy = line[1:].split()[:2]
            policies[name] = policy
        elif line.startswith("-A "):
            _, name, rule = line.split(" ", 2)
            for target, verdict in (("ACCEPT", "accept"), ("DROP", "drop"), ("REJECT", "reject")):
                rule = re.sub(rf"-j {target}\b", verdict, rule)
            chains.setdefault(name, []).append(re.sub(r"-[jg] (\S+)", r"jump \1", rule))
    found: list[FirewallRule] = []
    for name, hook in (("INPUT", "input"), ("OUTPUT", "output")):
        if name in policies:
            found += _of_chain(hook, f"chain {name}: policy {policies[name]}", policies[name] == "DROP", name, chains)
    return tuple(found[:MAX_RULES])


def look() -> tuple[tuple[FirewallRule, ...], str]:
    """What drops here, and why that cannot be seen (empty: it can)."""
    for program, arguments, parse in (("nft", ("list", "ruleset"), from_nft), ("iptables-save", ("-t", "filter"), from_iptables)):
        path = shutil.which(program, path="/usr/sbin:/sbin:/usr/bin:/bin")
        if path is None:
            continue
        try:
            done = subprocess.run((path, *arguments), capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            return parse(done.stdout), ""
        return (), f"{program} {' '.join(arguments)}: {(done.stderr.strip().splitlines() or ['refused'])[0]}"
    return (), "neither nft nor iptables-save is installed"
