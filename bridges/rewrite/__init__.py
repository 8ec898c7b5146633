"""Addresses inside what programs say to each other, rewritten for the other side; sans-IO.

Goals
-----
* A program that was told of a service by the discovery relay reaches it at the address that it was told.
* Whatever bytes a peer sends: nothing raises, nothing is expanded, the cost is linear in their number, and one packet
  has at most ``MAX_PLACES`` places made.
* What is not an address stays as it is, byte by byte.

::

    local program ──datagram──→ relay ──codec.rewrite(datagram, outward)──→ LAN
    local program ←──────────── relay ←─codec.rewrite(datagram, inward)──── LAN

    Translation     the relay's: where the other side reaches host:port           translation.py
    Codec           one protocol: finds the addresses, asks the translation       ssdp.py, wsd.py, netbios.py, llmnr.py,
                                                                                  artnet.py, syncthing.py, json_port.py, games.py
    rewrite_urls    absolute URLs in text                                         urls.py
    HttpFilter      a TCP stream to a place that a codec with ``http`` had made   http.py

One codec serves both directions: outward, a translation turns this computer's addresses into the node's virtual one
and exposes the port; inward it turns a peer's virtual address into its loopback alias and forwards the port.

``CODECS`` has them by the names that profiles (``bridges/profiles.yaml``) use.
"""

from __future__ import annotations

from bridges.rewrite import artnet, games, json_port, llmnr, netbios, ssdp, syncthing, wsd
from bridges.rewrite.http import HttpFilter
from bridges.rewrite.translation import MAX_PLACES, SENDER, Codec, Place, Translation

__all__ = ["CODECS", "MAX_PLACES", "SENDER", "Codec", "HttpFilter", "Place", "Translation"]

CODECS: dict[str, Codec] = {
    "artnet": Codec(artnet.rewrite, strict=True),
    "freeciv": Codec(games.freeciv),
    "llmnr": Codec(llmnr.rewrite, strict=True),
    "localsend": Codec(json_port.localsend),
    "luanti": Codec(json_port.luanti),
    "minecraft": Codec(games.minecraft),
    "netbios": Codec(netbios.rewrite, strict=True),
    "quake": Codec(games.quake, strict=True),
    "ssdp": Codec(ssdp.rewrite, http=True, strict=True),
    "supertuxkart": Codec(games.supertuxkart),
    "syncthing": Codec(syncthing.rewrite),
    "terraria": Codec(games.terraria),
    "unreal": Codec(games.unreal),
    "warcraft3": Codec(games.warcraft3),
    "wsd": Codec(wsd.rewrite, http=True, strict=True),
}
"""Codecs by name."""
