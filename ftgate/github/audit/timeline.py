"""The releases in a ledger, one line of them for each model: what each gained and lost, its verdict and its waivers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ftgate.github.audit.record import Change, ModelEntry, Record
from ftgate.github.audit.waivers import unexpired


@dataclass(frozen=True, slots=True)
class Release:
    """One candidate as its latest run judged it."""

    entry: ModelEntry
    record: Record
    """The latest run's."""
    runs: int
    """How often exactly these files were judged against this base under this policy."""
    waivers: tuple[str, ...]
    """Each as a sentence."""
    changed: tuple[str, ...]
    """What is not as in the release before, ``base`` or ``policy``: changes across that do not compare."""

    @property
    def numbers(self) -> Mapping[str, Change]:
        """The changes against the base by measurement."""
        return self.entry.numbers


@dataclass(frozen=True, slots=True)
class Timeline:
    """The releases of one model, oldest first."""

    title: str
    """Its manifest, by which a model is known through all its versions, or its name; of several policies also which."""
    releases: tuple[Release, ...]

    @property
    def measurements(self) -> Mapping[str, str]:
        """Every measurement that any release has, with the unit of its change."""
        return {name: change.unit for release in self.releases for name, change in release.numbers.items()}

    @property
    def deployed(self) -> bool:
        """Whether any release was compared with a deployed model."""
        return any(change.incumbent for release in self.releases for change in release.numbers.values())


def timelines(records: Sequence[Record], now: str) -> list[Timeline]:
    """The models in ``records``, in the order of their first one. ``now`` decides which waivers have expired.

    A record that was added twice counts once, and the records' own times count, not their places.
    """
    distinct = sorted({record.identity: record for record in records}.values(), key=lambda record: record.time)
    several = len({record.context for record in distinct if record.context}) > 1
    judged: dict[str, dict[tuple[str, str, str], list[tuple[Record, ModelEntry]]]] = {}
    for record in distinct:
        if record.kind == "run" and record.verdict != "error":
            for entry in record.models:
                title = (entry.manifest or entry.name) + (f" ({record.context})" if several and record.context else "")
                key = (entry.candidate, entry.base, record.policy)
                judged.setdefault(title, {}).setdefault(key, []).append((record, entry))
    waivers = [record for record in distinct if record.kind == "waiver"]
    return [Timeline(title, _releases(list(runs.values()), waivers, now)) for title, runs in judged.items()]


def _releases(
    judged: Sequence[Sequence[tuple[Record, ModelEntry]]], waivers: Sequence[Record], now: str
) -> tuple[Release, ...]:
    releases: list[Release] = []
    for runs in sorted(judged, key=lambda runs: runs[-1][0].time):
        record, entry = runs[-1]
        before = releases[-1] if releases else None
        changed = [] if before is None else _changed(before, record, entry)
        own = [w for w in waivers if w.policy == record.policy and any(_same(m, entry) for m in w.models)]
        sentences = tuple(_sentence(w, now) for w in own)
        releases.append(Release(entry, record, len(runs), sentences, tuple(changed)))
    return tuple(releases)


def _changed(before: Release, record: Record, entry: ModelEntry) -> list[str]:
    new = {"base": before.entry.base != entry.base, "policy": before.record.policy != record.policy}
    return [what for what, differs in new.items() if differs]


def _same(waived: ModelEntry, entry: ModelEntry) -> bool:
    return waived.candidate == entry.candidate and waived.base == entry.base


def _sentence(waiver: Record, now: str) -> str:
    state = "" if unexpired(waiver, now) else ", expired"
    return f"waived by {waiver.by} until {waiver.expires[:10]}{state}: {waiver.reason}"
