"""``userlan dns``: where the LAN's names are answered, and how this computer's resolver is told."""

from __future__ import annotations

from typing import Any

import click

from userlan.cli.client import call
from userlan.cli.main import Settings
from userlan.cli.output import as_json


@click.command()
@click.option("--json", "json_output", is_flag=True, help="As JSON.")
@click.pass_obj
def dns(settings: Settings, json_output: bool) -> None:
    """The LAN's DNS server, and how programs are told to use it."""
    told = call(settings.state, "dns")
    click.echo(as_json(told) if json_output else describe(told))


def describe(told: dict[str, Any]) -> str:
    """In words, ready to be copied."""
    address, host, port = told["listen"], told["host"], told["port"]
    others = {"none": "refused", "system": "asked of this computer's resolvers"}.get(told["upstream"], f"asked of {told['upstream']}")
    return f"""DNS server of the LAN (UDP and TCP): {address}
*.internal and the LAN's addresses are answered, other names are {others}

  by hand:
    dig @{host} -p {port} NAME.NETWORK.internal
  Linux with systemd-resolved, for as long as it runs; IFACE is a network interface other than lo:
    sudo resolvectl dns IFACE {address}
    sudo resolvectl domain IFACE '~internal'
    sudo resolvectl revert IFACE                  # as it was
  Linux with systemd-resolved, for good: /etc/systemd/resolved.conf.d/userlan.conf, then `sudo systemctl restart systemd-resolved`
    [Resolve]
    DNS={address}
    Domains=~internal
    DNSSEC=no
  Linux with dnsmasq: a line in /etc/dnsmasq.d/userlan.conf
    server=/internal/{host}#{port}
  macOS: /etc/resolver/internal
    nameserver {host}
    port {port}"""


COMMANDS: dict[str, click.Command] = {"dns": dns}
