"""A UPnP control point: LOCATION, the title of a picture, and where to put it. Needs nothing but Python."""

from __future__ import annotations

import sys
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ElementTree
from pathlib import Path

CONTENT = "urn:schemas-upnp-org:service:ContentDirectory:1"
DEVICE, DIDL, TITLE = "{urn:schemas-upnp-org:device-1-0}", "{urn:schemas-upnp-org:metadata-1-0/DIDL-Lite/}", "{http://purl.org/dc/elements/1.1/}title"
BROWSE = """<?xml version="1.0"?>
<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>
<u:Browse xmlns:u="{service}"><ObjectID>{container}</ObjectID><BrowseFlag>BrowseDirectChildren</BrowseFlag><Filter>*</Filter>
<StartingIndex>0</StartingIndex><RequestedCount>100</RequestedCount><SortCriteria></SortCriteria></u:Browse></s:Body></s:Envelope>"""
LEVELS = 6
"""A directory is not searched more deeply."""


def fetch(url: str, data: bytes | None = None, **headers: str) -> bytes:
    """GET or POST."""
    request = urllib.request.Request(url, data, {name.replace("_", "-"): value for name, value in headers.items()})
    with urllib.request.urlopen(request, timeout=20) as answer:
        body: bytes = answer.read()
    return body


def browse(control: str, container: str) -> ElementTree.Element:
    """What a container of the directory holds (ContentDirectory:1, 2.7.4)."""
    body = BROWSE.format(service=CONTENT, container=container).encode()
    answer = fetch(control, body, Content_Type='text/xml; charset="utf-8"', SOAPACTION=f'"{CONTENT}#Browse"')
    result = ElementTree.fromstring(answer).find(".//Result")
    assert result is not None
    assert result.text is not None
    return ElementTree.fromstring(result.text)


def picture(control: str, title: str, container: str = "0", level: int = 0) -> str | None:
    """Where the picture of this title is."""
    listing = browse(control, container)
    for item in listing.iter(f"{DIDL}item"):
        if item.findtext(TITLE) == title:
            return item.findtext(f"{DIDL}res")
    if level < LEVELS:
        for folder in listing.iter(f"{DIDL}container"):
            found = picture(control, title, folder.attrib["id"], level + 1)
            if found is not None:
                return found
    return None


def main(location: str, title: str, target: str) -> None:
    """Print whose picture was fetched from where."""
    description = ElementTree.fromstring(fetch(location))
    name = description.findtext(f".//{DEVICE}friendlyName")
    for service in description.iter(f"{DEVICE}service"):
        if service.findtext(f"{DEVICE}serviceType") == CONTENT:
            control = urllib.parse.urljoin(location, service.findtext(f"{DEVICE}controlURL") or "")
            url = picture(control, title)
            assert url is not None, f"{name} has no picture {title}"
            Path(target).write_bytes(fetch(url))
            print(f"{name}: {url}")
            return
    raise SystemExit(f"{name} has no content directory")


if __name__ == "__main__":
    main(*sys.argv[1:])
