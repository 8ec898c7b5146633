"""Port mapping: the router is asked to let the peers in, by whichever of three protocols it speaks. Sans-IO.

::

    pcp.py       RFC 6887: MAP for each transport, with a nonce that makes the mapping ours
    nat_pmp.py   RFC 6886: its predecessor, same port
    upnp.py      UPnP IGD:1 and :2: search by SSDP, description and actions by HTTP (no I/O here: what to ask, what the answer says)
    methods.py   one machine for each of them: probe, map, renew, unmap
    mapper.py    the coordinator

    network(gateway, own address) ──▶ all three are probed at once; probes change nothing in the router
        ├── PCP answers, or another one and PCP does not within SETTLE ──▶ map UDP and TCP by it
        │       ├── granted ──▶ renewed at half the lifetime ──▶ … ──▶ unmapped at the end
        │       └── refused ──▶ the next that answers
        └── nobody answers ──▶ quiet until the network changes, or RETRY_INTERVAL

A router that has restarted has forgotten its mappings: it says so (its epoch jumps, RFC 6887 8.5, RFC 6886 3.6; and it announces it by
multicast), and everything is asked for again. An external address that has changed comes with the next answer.

Only what comes from the gateway that was asked is believed, and only what fits a question: the nonce (PCP), the port (NAT-PMP), a
location and control addresses at the gateway's own address (UPnP). XML is read without document types and entities, in bounds. A router
is hostile until proven, but it can do no more than name a wrong external endpoint; and a mediator names a mapped endpoint to others only
where its host is the one that it sees itself.
"""
