"""Form: are the answers still well-formed, whatever they say and however they are scored?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ftgate.domain import Answer, Estimate, Item, Pair, Slice
from ftgate.measurements.base import ChecklistLine, Evidence, Share, too_many_failed
from ftgate.measurements.derived import BEGUN, DerivedMeasurement, asked_by, thought_before_options
from ftgate.measurements.estimate import ScoreEstimate, difference
from ftgate.scoring.malformed import CUT, KINDS, is_stock, malformed, stock_answers
from ftgate.scoring.rules import bounded, failure_of
from ftgate.scoring.scores import PairedScores
from ftgate.scoring.trace import OPEN
from ftgate.stats.power import evidence_floor

FAMILIES: Mapping[str, frozenset[str]] = {"malformed": frozenset(KINDS) - {CUT}, "cut": frozenset({CUT})}
"""The kinds that are counted together. A base that talks until it is cut must not make room for one that says nothing,
so cut answers are compared by themselves."""
NOTHING_READ = "no measurement asks for free-form answers: option letters show nothing of their form"
LINE_BREAKS = "\n" * 64
EXCERPT = 40
"""Characters of an answer that a reason quotes."""
MOST_NAMED = 3
"""Kinds of malformed answers that a reason names."""
SIDES = ("base", "candidate")
TOGETHER = "all"
"""The part that takes the answers to several measurements together."""

Kinds = tuple[frozenset[str], frozenset[str]]
"""What kinds of malformed answers the base's and the candidate's answer to an item are."""


@dataclass(frozen=True, slots=True)
class FormPart:
    """The answers to one measurement's items, or to those of several, looked at for one family of kinds.

    What is not ``decisive`` may block, but a pass does not need it.
    """

    suite: str
    family: str
    pairs: tuple[Pair, ...]
    kinds: tuple[Kinds, ...]
    decisive: bool = True

    @property
    def unit(self) -> str:
        """What its change is measured in."""
        return f"rise in {self.family} answers"

    @property
    def ids(self) -> frozenset[str]:
        """The items that it is about."""
        return frozenset(pair.item.id for pair in self.pairs)

    def rise(self, evidence: Evidence, limit: float, comparisons: int, rng: np.random.Generator) -> ScoreEstimate:
        """The rise of the share of answers that are of any kind in the family.

        Its upper bound is at the level of the look, because a pass needs every part's. Its lower bound is corrected for
        the number of ``comparisons``, because any part's blocks.
        """
        shares = _scores(self.pairs, self.kinds, FAMILIES[self.family], of_family=1.0)
        return replace(difference(shares, evidence, rng, -limit, comparisons), unit=self.unit)

    def counts(self, side: int) -> Counter[str]:
        """How many answers of the base (0) or the candidate (1) are of each kind in the family."""
        return Counter(kind for kinds in self.kinds for kind in kinds[side] & FAMILIES[self.family])


class Form(DerivedMeasurement):
    """Rise in malformed answers, among all free-form answers that other measurements ask for. On without a section.

    Malformed is an answer that is cut at the token limit, empty, one text over and over, without spaces, one of a few
    labels for everything, or in another script or language than the base's.
    """

    kind: ClassVar[str] = "form"
    title: ClassVar[str] = "Answer form"
    question: ClassVar[str] = "are its answers still well-formed?"
    subject: ClassVar[str] = "the form of its answers"
    limit_field: ClassVar[str] = "max_increase"
    remedy: ClassVar[str] = "malformed answers"
    relative: ClassVar[bool] = False

    max_increase: Share = 0.10
    """The share of malformed answers must rise by less than this in the answers to each measurement's items, and the
    share of cut answers in all of them together."""

    @property
    def tolerance(self) -> float:
        """The rise that blocks."""
        return self.max_increase

    @classmethod
    def checklist(cls, estimate: Estimate | None) -> ChecklistLine:
        """Whether there were enough answers whose form could be compared."""
        item = "The form of free-form answers was compared"
        if estimate is None:
            return ChecklistLine(item, False, f"the policy switches `{cls.kind}` off")
        if estimate.not_applicable is not None:
            return ChecklistLine(item, None, estimate.not_applicable)
        return ChecklistLine(item, True, f"{estimate.details.get('answers', estimate.n)} answers")

    def score(self, pairs: Sequence[Pair]) -> PairedScores:
        """1 for a well-formed answer, 0 for a malformed one."""
        return _scores(pairs, kinds_of(pairs), KINDS, of_family=0.0)

    def corrupt(self, pair: Pair, other: Pair) -> tuple[Answer, ...]:  # noqa: ARG002
        """What it must notice: nothing but line breaks."""
        return tuple(replace(answer, text=LINE_BREAKS, trace="") for answer in pair.base)

    def compare(self, evidence: Evidence, rng: np.random.Generator) -> Estimate:
        """The rise in the part that is worst off, with its interval (methods: section 10)."""
        rises = self._rises(evidence, rng)
        if not rises:
            return self._nothing_read(evidence)
        blocking = [(part, rise) for part, rise in rises if rise.interval[0] > self.limit]
        part, rise = max(blocking or [entry for entry in rises if entry[0].decisive], key=self._badness)
        return replace(rise, not_applicable="; ".join(rise.cannot_pass) or None).to_estimate(
            self.name,
            evidence,
            len(part.pairs),
            worse=self.worse,
            limit=self.limit,
            invalid_reason=too_many_failed(evidence),
            about=part.ids,
        )

    def with_details(self, estimate: Estimate, evidence: Evidence, rng: np.random.Generator) -> Estimate:
        """The estimate with a slice for each part, the counts of each kind, and the lengths of the answers."""
        kinds: dict[str, dict[str, dict[str, int]]] = {}
        lengths, slices = {}, []
        for part, rise in self._rises(evidence, rng):
            n = len(part.pairs)
            slices.append(
                Slice(f"{part.suite}: {part.family}", n, rise.base, rise.candidate, rise.change, rise.interval)
            )
            if part.suite == TOGETHER:
                continue
            lengths[part.suite] = _lengths(part.pairs)
            for side, model in enumerate(SIDES):
                kinds.setdefault(part.suite, {}).setdefault(model, {}).update(part.counts(side))
        details = {"answers": len(evidence.pairs), "kinds": kinds, "answer_tokens": lengths}
        return replace(estimate, slices=tuple(slices), details=details)

    def unseen(self, readable: Mapping[str, int], alpha: float) -> str:
        """That no measurement asks for free-form answers, or none for enough of them."""
        most, least = max(readable.values(), default=0), evidence_floor(self.max_increase, alpha)
        if most >= least:
            return ""
        too_few = f"no measurement asks for more than {most} free-form answers, and {least} are needed"
        return f"{too_few if most else NOTHING_READ}; a candidate whose answers fell apart may pass unseen"

    def in_words(self, estimate: Estimate, pairs: Sequence[Pair]) -> str:
        """Of which kinds the candidate has more answers than the base, with an example."""
        about = estimate.about or frozenset()
        parts = [part for part in parts_of(pairs) if part.unit == estimate.unit and part.ids <= about]
        if not parts:
            return ""
        part = parts[0] if len(parts) == 1 else together(parts)
        before, after = part.counts(0), part.counts(1)
        more = [kind for kind, number in after.most_common() if number > before[kind]][:MOST_NAMED]
        if not more:
            return ""
        named = ", ".join(f"{after[kind]} are {KINDS[kind]} (the base's: {before[kind]})" for kind in more)
        pair = next(p for p, kinds in zip(part.pairs, part.kinds, strict=True) if more[0] in kinds[1])
        text = pair.candidate[0].text
        excerpt = f": {text[:EXCERPT]!r}{'…' * (len(text) > EXCERPT)}" if text.strip() else ""
        where = "" if part.suite == TOGETHER else f" for `{part.suite}`"
        return f"of its {len(part.pairs)} answers{where}, {named}; the first is that to `{pair.item.id}`{excerpt}"

    def _rises(self, evidence: Evidence, rng: np.random.Generator) -> list[tuple[FormPart, ScoreEstimate]]:
        """The rise of each part and, where several measurements ask for texts, that of their cut answers together.

        Which answers are cut changes by chance where answers are long, and a small suite could not pass alone. Suites
        in which clearly fewer are cut than by the base are left out, because they would make room for the others.
        """
        parts = parts_of(evidence.pairs)
        comparisons = len(parts) + (len(parts) > len(FAMILIES))
        rises = [(part, part.rise(evidence, self.limit, comparisons, rng)) for part in parts]
        counted = [p for p, rise in rises if p.family == CUT and rise.interval[1] >= 0 and not rise.cannot_pass]
        if len(counted) < 2:
            return rises
        whole = together(counted)
        apart = [(replace(part, decisive=part not in counted), rise) for part, rise in rises]
        return [*apart, (whole, whole.rise(evidence, self.limit, comparisons, rng))]

    def _badness(self, entry: tuple[FormPart, ScoreEstimate]) -> tuple[float, ...]:
        """What orders the parts: one that blocks is worst, then one that could pass and is beyond the limit.

        Answers that are cut say less about what is wrong than those that are malformed otherwise. Last comes what can
        neither block nor pass, because it has too few answers: it decides where all are like that.
        """
        part, rise = entry
        low, high = rise.interval
        blocks, beyond = low > self.limit, rise.change > self.limit
        first = (blocks, blocks and part.family != CUT, low if blocks else 0.0)
        return (*first, not rise.cannot_pass, rise.change if beyond else 0.0, high)

    def _nothing_read(self, evidence: Evidence) -> Estimate:
        nan = float("nan")
        return Estimate(
            measurement=self.name,
            base=nan,
            candidate=nan,
            change=nan,
            unit="rise in malformed answers",
            interval=(nan, nan),
            level=1 - 2 * evidence.alpha,
            n=0,
            method="none",
            worse=self.worse,
            limit=self.limit,
            not_applicable=NOTHING_READ,
        )


def parts_of(pairs: Sequence[Pair]) -> list[FormPart]:
    """The answers by the measurement that asked for them, each once for every family."""
    kinds = kinds_of(pairs)
    by_suite: dict[str, list[int]] = {}
    for i, pair in enumerate(pairs):
        by_suite.setdefault(asked_by(pair.item), []).append(i)
    # An answer by an option letter can be nothing but cut off, before the letter is named.
    texts = {suite: [i for i in index if not thought_before_options(pairs[i])] for suite, index in by_suite.items()}
    begun = {suite for suite, index in by_suite.items() if any(pairs[i].base[0].finish == BEGUN for i in index)}
    return [
        FormPart(suite, family, tuple(pairs[i] for i in index), tuple(kinds[i] for i in index))
        for suite in by_suite
        for family in FAMILIES
        if (index := ([] if suite in begun else by_suite[suite]) if family == CUT else texts[suite])
    ]


def together(parts: Sequence[FormPart]) -> FormPart:
    """Several measurements' answers as one part; all of the same family."""
    pairs = tuple(pair for part in parts for pair in part.pairs)
    return FormPart(TOGETHER, parts[0].family, pairs, tuple(kinds for part in parts for kinds in part.kinds))


def kinds_of(pairs: Sequence[Pair]) -> list[Kinds]:
    """The kinds of malformed answers that each pair is. A model's stock of answers is told by suite."""
    by_suite: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_suite.setdefault(asked_by(pair.item), []).append(pair)
    stocks = {suite: _stocks([p for p in asked if not thought_before_options(p)]) for suite, asked in by_suite.items()}
    return [_kinds(pair, *stocks[asked_by(pair.item)]) for pair in pairs]


def _stocks(pairs: Sequence[Pair]) -> tuple[frozenset[str], frozenset[str]]:
    return stock_answers([p.item for p in pairs], [p.base[0] for p in pairs], [p.candidate[0] for p in pairs])


def _kinds(pair: Pair, base_stock: Collection[str], candidate_stock: Collection[str]) -> Kinds:
    if thought_before_options(pair):
        return _cut(pair.base[0]), _cut(pair.candidate[0])
    base, candidate = malformed(pair.item, pair.base[0], pair.candidate[0])
    return _with_stock(base, pair.item, pair.base[0], base_stock), _with_stock(
        candidate, pair.item, pair.candidate[0], candidate_stock
    )


def _cut(answer: Answer) -> frozenset[str]:
    """The kinds of an answer by an option letter, which is cut if the thought before it never ended."""
    return FAMILIES[CUT] if answer.trace == OPEN else frozenset()


def _with_stock(kinds: frozenset[str], item: Item, answer: Answer, stock: Collection[str]) -> frozenset[str]:
    """The kinds that an answer is; none for one that failed, which is no answer.

    That it is also given elsewhere says nothing more of one that is malformed by itself.
    """
    if failure_of(answer) is not None:
        return frozenset()
    if kinds - {CUT}:
        return kinds
    return kinds | {"stock"} if is_stock(item, answer, stock) else kinds


def _scores(
    pairs: Sequence[Pair], kinds: Sequence[Kinds], family: Collection[str], *, of_family: float
) -> PairedScores:
    """``of_family`` (0 or 1) for an answer of a kind in the family, the other of the two for one of none.

    An answer that failed is of no kind: its score is bounded by 0 and 1.
    """

    def bounds(answer: Answer, its_kinds: frozenset[str]) -> tuple[float, float]:
        if failure_of(answer) is not None:
            return 0.0, 1.0
        score = of_family if its_kinds.intersection(family) else 1 - of_family
        return score, score

    both = list(zip(pairs, kinds, strict=True))
    base = [bounds(pair.base[0], of_base) for pair, (of_base, _) in both]
    candidate = [bounds(pair.candidate[0], of_candidate) for pair, (_, of_candidate) in both]
    return bounded(tuple(pair.item for pair in pairs), base, candidate, binary=True)


def _lengths(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Mean answer lengths in tokens, and their ratio. They decide nothing."""
    base = float(np.mean([pair.base[0].tokens for pair in pairs]))
    candidate = float(np.mean([pair.candidate[0].tokens for pair in pairs]))
    return {"base": base, "candidate": candidate, "ratio": candidate / base if base else None}
