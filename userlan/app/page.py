"""The page of a running node: started where the configuration wants one, and given what it tells of the node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from userlan import __version__
from userlan.app.foreground import StartError
from userlan.driver.bridge import CommandError
from userlan.node.config import PageSection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from userlan.app.program import NodeProgram
    from userlan.web.server import Page


def start_page(program: NodeProgram) -> Page | None:
    """The page that listens, or None where there is to be none. Raises StartError."""
    section = program.config.page
    address = section.address
    if address is None:
        return None
    from userlan.web.server import Page

    metrics = None
    if section.metrics:
        from userlan.web.metrics import Metrics

        host = program.node.host
        metrics = Metrics(
            __version__,
            program.status,
            lambda: counters(program),
            lambda: (len(host.tcp_connections(program.reactor.seconds())), host.tcp_memory),
        )
    page = Page(program.reactor, program.commands, program.folder.path, metrics)
    try:
        page.start(address.host, address.port, others=section.listen == PageSection().listen)
    except CommandError as error:
        raise StartError(str(error)) from None
    return page


def counters(program: NodeProgram) -> Mapping[str, Mapping[str, int]]:
    """What the parts of a node have counted."""
    node = program.node
    return {
        "node": node.counters,
        "flooding": node.flooding.counters,
        "listeners": node.flooding.listeners.counters,
        "storms": node.flooding.storms.counters,
        "stack": node.host.counters,
        "tunnel": node.device.counters,
        "engine": program.engine.counters,
    }
