"""Fixtures of the lab: three namespaces on one switch, a mediator, two members."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from tests.lab.network import Lab, Namespace, unavailable
from tests.lab.userlan_process import Mediator, Member, together

MEDIATOR, ANNA, BEN = "10.99.0.1", "10.99.0.2", "10.99.0.3"


@attrs.define
class Site:
    """The mission's picture: a mediator and two computers."""

    lab: Lab
    folder: Path
    hub: Namespace
    anna_space: Namespace
    ben_space: Namespace
    mediator: Mediator
    anna: Member
    ben: Member

    def join(self) -> None:
        """Both are up, in one network, and direct."""
        together((self.anna, self.ben), "--mediator", self.mediator.url)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """An empty lab; skips, with the reason, where there can be none."""
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    with Lab(tmp_path) as made:
        yield made


@pytest.fixture
def site(lab: Lab, tmp_path: Path) -> Site:
    """Three namespaces on one switch; the mediator runs, the members do not yet."""
    hub, one, two = (lab.namespace(name) for name in ("mediator", "anna", "ben"))
    lab.switch("switch", [(hub, f"{MEDIATOR}/24"), (one, f"{ANNA}/24"), (two, f"{BEN}/24")])
    mediator = Mediator(hub, tmp_path / "mediator", f"{MEDIATOR}:41414")
    anna, ben = Member(one, tmp_path / "anna", "anna"), Member(two, tmp_path / "ben", "ben")
    return Site(lab, tmp_path, hub, one, two, mediator, anna, ben)
