"""All rules in their order, the cause before what follows from it."""

from __future__ import annotations

import attrs

from userlan.cli.doctor import computer_rules, node_rules, peer_rules, service_rules
from userlan.cli.doctor.finding import Finding, Rule, Scene


@attrs.frozen
class Verdict:
    """``findings``: the worst first. ``checked``: what was looked at, in words; ``fine``: that of it in which nothing was found."""

    findings: tuple[Finding, ...]
    checked: tuple[str, ...]
    fine: tuple[str, ...]

    @property
    def wrong(self) -> bool:
        """Whether anything keeps something from being seen."""
        return any(finding.level == "wrong" for finding in self.findings)


def rules(scene: Scene) -> dict[str, Rule]:
    """Those that have something to look at."""
    chosen: dict[str, Rule] = dict(computer_rules.RULES)
    if scene.node is not None:
        chosen |= node_rules.RULES | peer_rules.RULES | service_rules.RULES
        idle = peer_rules.idle(scene) | service_rules.idle(scene)
        chosen = {name: rule for name, rule in chosen.items() if rule not in idle}
    return chosen


def judge(scene: Scene) -> Verdict:
    """Ask them all."""
    chosen = rules(scene)
    found = {name: list(rule(scene)) for name, rule in chosen.items()}
    order = ("wrong", "note", "unseen")
    findings = sorted((one for some in found.values() for one in some), key=lambda finding: order.index(finding.level))
    return Verdict(tuple(findings), tuple(chosen), tuple(name for name, some in found.items() if not some))
