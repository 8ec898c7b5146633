"""Who may import whom.

    wire < (stack, tunnel, traversal, lan) < control < (mediator, relay) < node < driver < web < app < cli

Lower ones import upper ones only; the parts in one pair of brackets never import each other.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

import pytest

from tests.architecture.source import Import, Module, from_text, modules, within

LAYERS = (
    ("wire",),
    ("stack", "tunnel", "traversal", "lan"),
    ("control",),
    ("mediator", "relay"),
    ("node",),
    ("driver",),
    ("web",),
    ("app",),
    ("cli",),
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}

PURE = ("wire", "stack", "tunnel", "traversal", "lan", "control", "mediator", "relay", "node")
"""Packages without clock, chance, sockets or Twisted."""

IMPURE_MODULES = ("userlan.mediator.directory",)
"""The storage of the mediator: the only I/O in these packages."""

STORAGE_MODULES = ("userlan.mediator.directory", "userlan.mediator.schema")
"""Where SQLAlchemy may be imported: it is slow to load, and `userlan up` must not wait for it."""

FORBIDDEN_IN_PURE = (
    "asyncio",
    "multiprocessing",
    "os",
    "random",
    "secrets",
    "select",
    "selectors",
    "signal",
    "socket",
    "ssl",
    "subprocess",
    "threading",
    "time",
    "twisted",
    "uuid",
)

CRYPTOGRAPHY = ("nacl", "cryptography", "noise", "dissononce")
CRYPTOGRAPHY_HOMES = {
    "tunnel": ("userlan.tunnel.primitives",),
    "lan": ("userlan.lan.secrets", "userlan.lan.eviction"),
}
"""Where the primitives of cryptography may be imported; nowhere in the other pure packages."""

BRIDGES_MAY_IMPORT = ("userlan.driver", "userlan.lan")
"""The public face of the program for bridges; bridges may import each other and anything outside of userlan."""

DATA_PATH = ("wire", "stack", "tunnel", "traversal", "lan", "control", "mediator", "relay", "node", "driver")
"""Packages that packets pass through: scapy takes 0.1 ms a packet."""


def package_of(name: str) -> str:
    """`stack` for `userlan.stack.tcp`; an empty string for `userlan` itself and for what is not userlan's."""
    parts = name.split(".")
    return parts[1] if parts[0] == "userlan" and len(parts) > 1 else ""


def complaints(module: Module, forbidden: Iterable[Import], why: str) -> list[str]:
    return [f"{module.where}:{found.line}: {module.name} imports {found.module}: {why}" for found in forbidden]


def layer_violations(module: Module) -> list[str]:
    """Imports of lower layers and of siblings, also those for types only."""
    own = package_of(module.name)
    if own not in RANK:
        return []
    wrong = []
    for found in module.imports:
        other = package_of(found.module)
        if other in RANK and other != own and RANK[other] >= RANK[own]:
            wrong.append(found)
    return complaints(module, wrong, "not above it in the order of the layers")


def impurities(module: Module) -> list[str]:
    """Imports of clocks, chance, sockets and Twisted in pure packages."""
    if package_of(module.name) not in PURE or module.name in IMPURE_MODULES:
        return []
    wrong = [found for found in module.imports if any(within(found.module, name) for name in FORBIDDEN_IN_PURE)]
    return complaints(module, wrong, "a pure package takes time and entropy as arguments and does no I/O")


def stray_cryptography(module: Module) -> list[str]:
    """Imports of cryptographic primitives outside of their homes."""
    own = package_of(module.name)
    if own not in PURE or module.name in CRYPTOGRAPHY_HOMES.get(own, ()):
        return []
    wrong = [found for found in module.imports if any(within(found.module, name) for name in CRYPTOGRAPHY)]
    return complaints(module, wrong, "primitives of cryptography have few homes")


def bridge_violations(module: Module) -> list[str]:
    """What a bridge takes from userlan beside its public face, private names and modules included."""
    wrong = [
        found
        for found in module.imports
        if within(found.module, "userlan")
        and (
            not any(within(found.module, public) for public in BRIDGES_MAY_IMPORT)
            or any(part.startswith("_") for part in f"{found.module}.{found.name}".split("."))
        )
    ]
    return complaints(module, wrong, "bridges know userlan.driver and userlan.lan alone")


def userlan_modules() -> list[Module]:
    return list(modules("userlan").values())


def test_there_is_something_to_check() -> None:
    names = set(modules("userlan"))
    assert {"userlan.wire.tcp", "userlan.wire.superpacket"} <= names
    assert {package_of(name) for name in names if package_of(name)} <= {*RANK, "__main__"}, "a package without a layer"


def test_layers_import_only_what_is_above_them() -> None:
    assert [line for module in userlan_modules() for line in layer_violations(module)] == []


def test_pure_packages_are_pure() -> None:
    assert [line for module in userlan_modules() for line in impurities(module)] == []


def test_cryptography_stays_in_its_homes() -> None:
    assert [line for module in userlan_modules() for line in stray_cryptography(module)] == []


def test_the_storage_library_is_imported_by_the_storage_alone() -> None:
    wrong = [
        line
        for module in userlan_modules()
        if module.name not in STORAGE_MODULES
        for line in complaints(
            module,
            [found for found in module.imports if within(found.module, "sqlalchemy")],
            "it takes long to import",
        )
    ]
    assert wrong == []


def test_userlan_never_imports_bridges() -> None:
    wrong = [
        line
        for module in userlan_modules()
        for line in complaints(
            module, [found for found in module.imports if within(found.module, "bridges")], "bridges are entry points"
        )
    ]
    assert wrong == []


def test_bridges_import_only_the_public_face() -> None:
    assert [line for module in modules("bridges").values() for line in bridge_violations(module)] == []


def test_nothing_imports_the_tests() -> None:
    wrong = [
        line
        for module in [*userlan_modules(), *modules("bridges").values()]
        for line in complaints(
            module, [found for found in module.imports if within(found.module, "tests")], "tests stand outside"
        )
    ]
    assert wrong == []


def test_scapy_is_not_on_the_data_path() -> None:
    everywhere = [*userlan_modules(), *modules("bridges").values()]
    wrong = [
        line
        for module in everywhere
        for line in complaints(
            module,
            [
                found
                for found in module.imports
                if within(found.module, "scapy") and (found.top_level or package_of(module.name) in DATA_PATH)
            ],
            "scapy is imported where it is used, never on the data path",
        )
    ]
    assert wrong == []


def global_reactor(module: Module) -> list[str]:
    """Imports and uses of `twisted.internet.reactor`, however spelled."""
    lines = []
    for node in ast.walk(module.tree):
        spelled: list[str] = []
        if isinstance(node, ast.Import):
            spelled = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            spelled = [f"{node.module}.{alias.name}" for alias in node.names] + [node.module or ""]
        elif isinstance(node, ast.Attribute):
            spelled = [f"twisted.{ast.unparse(node)}", ast.unparse(node)]
        if isinstance(node, ast.expr | ast.stmt) and "twisted.internet.reactor" in spelled:
            lines.append(node.lineno)
    return [f"{module.where}:{line}: {module.name} names the global reactor" for line in lines]


def test_only_the_command_line_names_the_global_reactor() -> None:
    everywhere = [*userlan_modules(), *modules("bridges").values()]
    assert [
        line for module in everywhere if package_of(module.name) != "cli" for line in global_reactor(module)
    ] == []


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected components of more than one module (Tarjan), each sorted."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for other in sorted(graph.get(name, ())):
            if other not in order:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], order[other])
        if low[name] == order[name]:
            component = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(component) > 1:
                found.append(sorted(component))

    for name in sorted(graph):
        if name not in order:
            visit(name)
    return found


def import_graph(known: dict[str, Module]) -> dict[str, set[str]]:
    """Who imports whom when run; imports for types only are left out."""
    return {
        name: {found.module for found in module.imports if not found.typing_only and found.module in known} - {name}
        for name, module in known.items()
    }


@pytest.mark.parametrize("package", ["userlan", "bridges"])
def test_no_modules_import_each_other_in_a_circle(package: str) -> None:
    assert cycles(import_graph(modules(package))) == []


@pytest.mark.parametrize(
    ("rule", "name", "text"),
    [
        (layer_violations, "userlan.wire.x", "from userlan.stack import tcp"),
        (layer_violations, "userlan.stack.x", "import userlan.tunnel.device"),
        (layer_violations, "userlan.stack.x", "from ..lan import switch"),
        (layer_violations, "userlan.node.x", "def f():\n    from userlan.driver.lan import Lan\n"),
        (layer_violations, "userlan.mediator.x", "from userlan.node.node import Node"),
        (impurities, "userlan.wire.x", "from time import monotonic"),
        (impurities, "userlan.tunnel.x", "from os import urandom"),
        (impurities, "userlan.node.x", "import twisted.internet.defer"),
        (impurities, "userlan.lan.x", "import secrets"),
        (stray_cryptography, "userlan.tunnel.device", "from nacl.bindings import crypto_scalarmult"),
        (stray_cryptography, "userlan.lan.roster", "import cryptography"),
        (bridge_violations, "bridges.x", "from userlan.node.node import Node"),
        (bridge_violations, "bridges.x", "import userlan"),
        (bridge_violations, "bridges.x", "from userlan.driver._pump import Pump"),
        (bridge_violations, "bridges.x", "from userlan.driver.lan import _Pump"),
        (global_reactor, "userlan.driver.x", "from twisted.internet import defer, reactor"),
        (global_reactor, "bridges.x", "import twisted.internet.reactor"),
        (global_reactor, "bridges.x", "from twisted import internet\ninternet.reactor.run()"),
    ],
)
def test_each_rule_notices(rule: object, name: str, text: str) -> None:
    assert callable(rule)
    assert len(rule(from_text(name, text))) == 1


@pytest.mark.parametrize(
    ("rule", "name", "text"),
    [
        (layer_violations, "userlan.stack.x", "from userlan.wire import tcp\nfrom userlan.stack import host"),
        (layer_violations, "userlan.cli.x", "from userlan.web import page"),
        (impurities, "userlan.driver.x", "import time, socket, twisted"),
        (impurities, "userlan.lan.secrets", "import hashlib"),
        (stray_cryptography, "userlan.tunnel.primitives", "import nacl.bindings"),
        (bridge_violations, "bridges.x", "from userlan.driver.lan import Lan\nfrom twisted.internet import defer"),
        (global_reactor, "userlan.driver.x", "from twisted.internet import interfaces"),
    ],
)
def test_each_rule_lets_pass_what_is_right(rule: object, name: str, text: str) -> None:
    assert callable(rule)
    assert rule(from_text(name, text)) == []


def test_circles_are_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set()}
    assert cycles(graph) == [["a", "b", "c"]]
