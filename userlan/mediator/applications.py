"""Applications: networks whose owner approves new members, and who waits for that.

::

    Prove, the secret is right ──▶ denied of late? full? too often? ──▶ applicants ──▶ Applied, Refused(waiting); the owner: Applicants
    Approve, by the owner ──▶ full? ───────────▶ members ──▶ the applicant: NetworkState, the members: MemberChanged, the owner: Applicants
    Deny, by the owner ─────▶ denied for ten minutes ──────▶ the applicant: ApplicationEnded(denied),            the owner: Applicants
    Evict, by the owner ────▶ all are forgotten ───────────▶ each: ApplicationEnded(wrong-secret),               the owner: Applicants
    Leave, by the applicant ▶ forgotten ─────────────────────────────────────────────────────────▶ the owner: Applicants

Applications are in the directory: both ends may be away for as long as they like, and the mediator restarted. An applicant is written down
with its name and gets no address for life before it is approved (``Accounts.enrol``), so that who is denied leaves nothing behind but that.

A word of the owner's is for the key that applied: it proved then that it knows the secret, so an application ends with that secret.
"""

from __future__ import annotations

from userlan.control import refusals
from userlan.control.messages import Applicants, ApplicationEnded, Applied, Refused
from userlan.lan.labels import distinct_nick
from userlan.mediator.accounts import Account, Accounts
from userlan.mediator.effects import Effect, RefusalError, Tell
from userlan.mediator.limits import Buckets
from userlan.mediator.records import ApplicantRecord, NetworkRecord


class Applications:
    """Those of all networks. Each method raises ``RefusalError`` or ``DirectoryError`` where it says no, and changes nothing then."""

    def __init__(self, accounts: Accounts) -> None:
        limits = accounts.limits
        self._accounts = accounts
        self._directory = accounts.directory
        self._limits = limits
        self._rates = Buckets(limits.apply_rate, limits.apply_burst, limits.remembered)

    # --- applicants --------------------------------------------------------------------------------------------------

    def check(self, key: bytes, record: NetworkRecord, now: float) -> bool:
        """Whether a node waits for a network's owner; refused where the owner has denied it of late."""
        before = self._of(record, key) if record.approval else None
        if before is None or not before.denied:
            return before is not None
        left = self._denied_for(before, now)
        if left > 0:
            again = f"ask again in {int(left // 60) + 1} min"
            raise RefusalError(refusals.DENIED, f"the owner of {record.name}, {self._owner_name(record)}, has denied this: {again}")
        return False

    def apply(self, account: Account, record: NetworkRecord, request: int, now: float) -> list[Effect]:
        """A node that proved the secret asks the owner; one that waits already is told so."""
        owner = self._owner_name(record)
        applicant, news = self._of(record, account.key), False
        if applicant is None or applicant.denied or applicant.name != account.name:
            news = True
            applicant = self._new(account, record, applicant, now)
        text = f"asked: {owner}, the owner of {record.name}, has to approve; join again then"     # for those who know no waiting
        told: list[Effect] = [
            Tell(account.key, Applied(record.name, record.owner, owner, applicant.since)),
            Tell(account.key, Refused(request, refusals.WAITING, text)),
        ]
        return [*told, *self._accounts.applicants_news(record)] if news else told

    def withdraw(self, key: bytes, record: NetworkRecord | None) -> list[Effect] | None:
        """A node does not wait for a network any more; None where it did not."""
        applicant = self._of(record, key) if record is not None and record.approval else None
        if record is None or applicant is None or applicant.denied:
            return None
        self._directory.withdraw(record.identifier, key)
        return self._accounts.applicants_news(record)

    def renamed(self, account: Account) -> list[Effect]:
        """A node has another nickname: so its applications have."""
        effects: list[Effect] = []
        for record in self._directory.applied(account.key):
            applicant = self._of(record, account.key)
            if applicant is not None:
                self._directory.apply(record.identifier, applicant._replace(name=account.name))
                effects += self._accounts.applicants_news(record)
        return effects

    # --- the owner's word --------------------------------------------------------------------------------------------

    def approve(self, record: NetworkRecord, key: bytes, now: float) -> list[Effect]:
        """An applicant becomes a member, whether it is online or not. One that was denied has forgotten the secret."""
        applicant = self._of(record, key)
        if applicant is None or applicant.denied:
            raise _nobody(record)
        members = self._directory.members(record.identifier)
        if len(members) >= self._limits.members:
            raise RefusalError(refusals.FULL, f"{record.name} has {self._limits.members} members and takes no more")
        if len(self._directory.memberships(key)) >= self._limits.networks_joined:
            raise RefusalError(refusals.FULL, f"{applicant.name} is in {self._limits.networks_joined} networks; it must leave one first")
        node = self._accounts.enrol(key, applicant.name, now)
        own = distinct_nick(node.name, {member.name for member in members})
        self._directory.add_member(record.identifier, key, own, self._accounts.wall(now))
        account = self._accounts.get(key)
        if account is None:
            return [*self._accounts.entered_offline(record, key), *self._accounts.applicants_news(record)]
        effects = self._accounts.came_in(account, record, own)
        state = Tell(key, self._accounts.network_state(record))
        return [*effects, state, *self._accounts.eviction_news(key, record), *self._accounts.applicants_news(record)]

    def deny(self, record: NetworkRecord, key: bytes, now: float) -> list[Effect]:
        """An applicant does not become a member."""
        applicant = self._of(record, key)
        if applicant is None or (applicant.denied and self._denied_for(applicant, now) <= 0):
            raise _nobody(record)
        if applicant.denied:
            return []  # asked again after a lost answer
        denied = [one for one in self._directory.applicants(record.identifier) if one.denied]
        for oldest in denied[: max(0, len(denied) + 1 - self._limits.applicants)]:
            self._directory.withdraw(record.identifier, oldest.key)
        self._directory.apply(record.identifier, applicant._replace(denied=True, since=self._accounts.wall(now)))
        text = f"the owner of {record.name}, {self._owner_name(record)}, has denied this"
        return [Tell(key, ApplicationEnded(record.name, refusals.DENIED, text)), *self._accounts.applicants_news(record)]

    def superseded(self, record: NetworkRecord) -> list[Effect]:
        """The network gets another secret, and the directory forgets who applied by the one before: what all are told then."""
        text = f"{record.name} has another secret now; ask a member for a new invite"
        waiting = [one.key for one in self._directory.applicants(record.identifier) if not one.denied] if record.approval else []
        effects: list[Effect] = [Tell(key, ApplicationEnded(record.name, refusals.WRONG_SECRET, text)) for key in waiting]
        return [*effects, Tell(record.owner, Applicants(record.name))] if waiting else []

    # --- inside ------------------------------------------------------------------------------------------------------

    def _new(self, account: Account, record: NetworkRecord, before: ApplicantRecord | None, now: float) -> ApplicantRecord:
        """Writes an application, or another name in one."""
        since = before.since if before is not None and not before.denied else self._accounts.wall(now)
        if before is None or before.denied:
            waiting = [one for one in self._directory.applicants(record.identifier) if not one.denied]
            if len(waiting) >= self._limits.applicants:
                raise RefusalError(refusals.FULL, f"{len(waiting)} wait for the owner of {record.name} already; try again later")
            if len(self._directory.applied(account.key)) >= self._limits.applications:
                raise RefusalError(refusals.FULL, f"a node can wait for {self._limits.applications} networks; leave one first")
            if not self._rates.take(account.source, now):
                raise RefusalError(refusals.TOO_MANY_REQUESTS, "your address asked to join too often; try again in a minute")
        applicant = ApplicantRecord(account.key, account.name, since, False)
        self._directory.apply(record.identifier, applicant)
        return applicant

    def _of(self, record: NetworkRecord, key: bytes) -> ApplicantRecord | None:
        return next((one for one in self._directory.applicants(record.identifier) if one.key == key), None)

    def _denied_for(self, applicant: ApplicantRecord, now: float) -> float:
        """Seconds that a denial holds yet."""
        return applicant.since + self._limits.denied - self._accounts.wall(now)

    def _owner_name(self, record: NetworkRecord) -> str:
        owner = next((one for one in self._directory.members(record.identifier) if one.key == record.owner), None)
        return owner.name if owner is not None else "who has left it"


def _nobody(record: NetworkRecord) -> RefusalError:
    return RefusalError(refusals.NO_SUCH_APPLICANT, f"nobody with that key waits to join {record.name}")
