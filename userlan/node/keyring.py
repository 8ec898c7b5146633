"""The secrets of the networks that this node is in, and what follows from them: pre-shared keys, admissions, evictions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import attrs

from userlan.lan.eviction import MAX_APPROVED, Eviction
from userlan.lan.secrets import NetworkSecret, OwnerSigning
from userlan.node.memory import SavedNetwork

KEPT_SECRETS = 3
"""Secrets of one network that still open tunnels: the present one and those of the last two evictions, for members that were away.
An evicted member knows the older ones: they serve only those who were members when they were replaced (``veterans``), or the evicted
one would come back with another key as soon as a mediator lists it."""
MAX_PRESHARED = 8
"""Pre-shared keys tried for one peer: the tunnel's own cap."""


@attrs.define
class Held:
    """One network's secrets, newest first. ``confirmed`` is False while the mediator has not admitted this node yet.

    ``veterans[n]`` are the keys that were members when ``secrets[n + 1]`` was replaced; ``proven`` those that showed that they know
    one of the secrets (no more than members, 1,024). ``approved``: whom the owner has approved, by the newest document that says so; None:
    no document has said so.
    """

    mediator: bytes
    secrets: list[NetworkSecret]
    eviction: Eviction | None = None
    confirmed: bool = True
    veterans: list[frozenset[bytes]] = attrs.field(factory=list)
    proven: set[bytes] = attrs.field(factory=set)
    approved: frozenset[bytes] | None = None

    def opens(self, age: int, peer: bytes) -> bool:
        """Whether ``secrets[age]`` is for a peer: the newest is for all, an older one for who was there or was sealed the newer."""
        if age == 0 or (self.eviction is not None and peer in self.eviction.sealed):
            return age < len(self.secrets)
        return age < len(self.secrets) and age <= len(self.veterans) and peer in self.veterans[age - 1]


class Keyring:
    """Secrets by network name; the owner's signing key of this node."""

    def __init__(self, public_key: bytes, private_key: bytes) -> None:
        self.public_key = public_key
        self.signing = OwnerSigning(private_key)
        self._private_key = private_key
        self._held: dict[str, Held] = {}

    def __contains__(self, network: str) -> bool:
        return network in self._held

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._held))

    def get(self, network: str) -> Held | None:
        """What is held of a network."""
        return self._held.get(network)

    def replaced(self, network: str) -> bool:
        """Whether a network's secret was ever replaced since this node has it."""
        held = self._held.get(network)
        return held is not None and len(held.secrets) > 1

    def put(self, network: str, mediator: bytes, secret: NetworkSecret, confirmed: bool) -> None:
        """Hold a network's secret."""
        self._held[network] = Held(mediator, [secret], None, confirmed)

    def drop(self, network: str) -> None:
        """Forget a network. Idempotent."""
        self._held.pop(network, None)

    def preshared_keys(self, peer: bytes, networks: Iterable[str]) -> tuple[bytes, ...]:
        """Pre-shared keys to try with a peer, best first: the newest secret of each common network, then the older ones."""
        held = [self._held[network] for network in sorted(networks) if network in self._held]
        ranked = [one.secrets[age] for age in range(KEPT_SECRETS) for one in held if one.opens(age, peer)]
        return tuple(secret.preshared_key(self.public_key, peer) for secret in ranked[:MAX_PRESHARED])

    def attested(self, network: str, owner: bytes, owner_signing_public: bytes, attestation: bytes) -> bool:
        """Whether somebody who knows the network's secret vouches that this is its owner."""
        held = self._held.get(network)
        return held is not None and any(
            secret.verify_owner(attestation, network, owner, owner_signing_public) for secret in held.secrets
        )

    def serial(self, network: str) -> int:
        """Serial of the newest eviction held; 0 when none."""
        held = self._held.get(network)
        return held.eviction.serial if held is not None and held.eviction is not None else 0

    def serials(self, mediator: bytes) -> dict[str, int]:
        """Serials of the newest evictions held, for the networks of one mediator: it need not hear of the others."""
        return {network: self.serial(network) for network, held in self._held.items() if held.mediator == mediator}

    def make_eviction(
        self,
        network: str,
        evicted: Iterable[bytes],
        remaining: Iterable[bytes],
        secret: NetworkSecret,
        entropy: Callable[[int], bytes],
        approved: Iterable[bytes] | None = None,
    ) -> Eviction:
        """A signed document, newer than the one held, that evicts ``evicted`` (all so far), seals ``secret`` for ``remaining``, and says
        whom the owner has ``approved`` (all so far)."""
        serial = self.serial(network) + 1
        return Eviction.make(network, serial, evicted, secret, remaining, self.public_key, self.signing, entropy, approved)

    def proofs_for(self, peer: bytes, networks: Iterable[str]) -> dict[str, bytes]:
        """Proofs, for one peer, that this node knows the newest secrets of these networks."""
        held = {network: self._held[network] for network in networks if network in self._held}
        return {network: one.secrets[0].prove_membership(self.public_key, peer) for network, one in held.items()}

    def prove(self, network: str, peer: bytes, proof: bytes) -> bool:
        """Take a member's proof; True when it holds and is news. An older secret proves those only whom it still serves."""
        held = self._held.get(network)
        if held is None or peer in held.proven or not proof:
            return False
        for age, secret in enumerate(held.secrets):
            if held.opens(age, peer) and secret.verify_membership(proof, peer, self.public_key):
                held.proven.add(peer)
                return True
        return False

    def accept_eviction(self, eviction: Eviction, owner_signing_public: bytes, members: Iterable[bytes]) -> bool:
        """Take a newer document that the owner signed; False when it is old or not the owner's. ``members``: those known so far."""
        held = self._held.get(eviction.network)
        if held is None or eviction.serial <= self.serial(eviction.network) or not eviction.verify(owner_signing_public):
            return False
        try:
            secret = eviction.open(self._private_key)
        except ValueError:
            secret = None     # signed, but sealed wrongly: it still evicts
        if secret is not None and secret not in held.secrets:
            held.secrets.insert(0, secret)
            held.veterans.insert(0, frozenset(members) - eviction.evicted)
            del held.secrets[KEPT_SECRETS:]
            del held.veterans[KEPT_SECRETS - 1 :]
        held.eviction = eviction
        held.proven -= eviction.evicted
        if eviction.approved is not None:
            held.approved = eviction.approved
        elif held.approved is not None:     # of an owner whose program does not know approvals: they stand
            held.approved -= eviction.evicted
        return True

    def save(self) -> dict[str, SavedNetwork]:
        """For the node's memory; only networks that admitted this node."""
        return {
            network: SavedNetwork(
                held.mediator,
                [secret.value for secret in held.secrets],
                held.eviction.to_bytes() if held.eviction is not None else b"",
                [sorted(keys) for keys in held.veterans],
                sorted(held.proven),
                None if held.approved is None else sorted(held.approved),
            )
            for network, held in self._held.items()
            if held.confirmed
        }

    def restore(self, saved: dict[str, SavedNetwork]) -> None:
        """From the node's memory; what does not read is left out."""
        for network, one in saved.items():
            try:
                secrets = [NetworkSecret(value) for value in one.secrets[:KEPT_SECRETS]]
                eviction = Eviction.from_bytes(one.eviction) if one.eviction else None
            except ValueError:
                continue
            if secrets:
                veterans = [frozenset(keys) for keys in one.veterans[: KEPT_SECRETS - 1]]
                approved = frozenset(one.approved[:MAX_APPROVED]) if one.approved is not None else None
                if approved is None and eviction is not None:
                    approved = eviction.approved        # an older program has written the memory
                self._held[network] = Held(
                    one.mediator, secrets, eviction, veterans=veterans, proven=set(one.proven), approved=approved
                )
