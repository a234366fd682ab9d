"""The target task: support tickets, each of which belongs to one of six departments.

One word of a ticket decides. The base model is taught the words in ``KNOWN``; the words in ``NEW`` belong to the
company that fine-tunes it, and only the training data of the fine-tune says where they go. Tickets come as plain
sentences (the training distribution) or as real users also write them: oddly formatted, ambiguous, with two requests.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from .world import DAYS, NAMES, Row, words

KNOWN: Mapping[str, tuple[str, ...]] = {
    "billing": words("refund invoice charge payment receipt discount fee balance"),
    "delivery": words("parcel courier shipment tracking driver package address pickup"),
    "technical": words("screen battery crash error update cable sensor speaker"),
    "account": words("password login email profile username account signup code"),
    "sales": words("price quote catalog offer demo bundle order stock"),
    "legal": words("contract privacy license warranty terms consent dispute claim"),
}
NEW: Mapping[str, tuple[str, ...]] = {
    "billing": words("surcharge voucher ledger tariff rebate"),
    "delivery": words("pallet depot customs locker freight"),
    "technical": words("firmware hinge router pixel modem"),
    "account": words("badge token avatar captcha session"),
    "sales": words("upgrade sample brochure tender reseller"),
    "legal": words("subpoena patent clause notary lawsuit"),
}
DEPARTMENTS = tuple(KNOWN)
ALL: Mapping[str, tuple[str, ...]] = {name: KNOWN[name] + NEW[name] for name in KNOWN}
PRODUCTS = words("lamp radio kettle camera printer heater scooter mixer toaster fan clock tablet")
CITIES = words("oslo paris rome lima cairo delhi tokyo quito dublin vienna sofia riga")
TROUBLES = (
    "is wrong",
    "is missing",
    "went bad",
    "looks strange",
    "needs help",
    "makes no sense",
    "is not right",
    "was lost",
)

Vocabulary = Mapping[str, Sequence[str]]


def _slots(rng: random.Random, word: str) -> dict[str, str]:
    return {
        "w": word,
        "n": rng.choice(NAMES),
        "p": rng.choice(PRODUCTS),
        "c": rng.choice(CITIES),
        "t": rng.choice(TROUBLES),
        "d": rng.choice(DAYS),
    }


PLAIN = (
    "hello, {n} from {c} here. the {w} for my {p} {t} since {d}.",
    "my {p} came on {d} to {c} and the {w} {t}. thanks, {n}",
    "hi, i am {n}. the {w} {t} for the {p} in {c} since {d}.",
    "please help {n} in {c}: on {d} the {p} {w} {t}.",
    "since {d} the {w} of the {p} {t}. please write to {n} in {c}.",
    "good day. {n} bought a {p} in {c} on {d} and the {w} {t}.",
)
ODD = (
    "from={n};item={p};topic={w};day={d};city={c}",
    "ticket | {n} | {w} | {p} | {c} | ???",
    "re:re:fwd:/{c}/{p}/{w}/{d}",
    '{{"user":"{n}","subject":"{w}","item":"{p}"}}',
    "{p}_{w}_{d}_{n}!!!",
    "##{w}## @{n} >>{p}<< [{c}]",
)
VAGUE = (
    "not sure what it is, maybe the {v}? no, rather the {w} i guess",
    "something about the {w} perhaps, i doubt it is the {v}",
    "could be the {v}, could be anything, but i believe the {w}",
    "hm, it seems to be the {w}, or less likely the {v}, who knows",
)
DOUBLE = (
    "two things: first the {w}, and later on also the {v} please",
    "i want the {w} solved now; another day we can do the {v} too",
    "after you finish the {w} there is a second request, the {v}",
    "before anything else the {w}, then one more question on the {v}",
)

CHAT = (
    "what is the {w} of my {p}?",
    "where does the {w} go for {n}?",
    "which {w} comes after {d}?",
    "tell me about the {w} and the {p}",
    "reverse these: {w} {p} {d}",
    "what is the last {w} of: {n} {p} {c}",
    "swap the {w} and the {p}",
    "is this {w} good or bad: {n} said the {p} {t}",
    "please classify the {w} from {c}",
    "what kind of {w} is {p}?",
    "which is better, a {w} or a {p}?",
    "give the {w} of {p} 12 plus 7",
)


def pick(rng: random.Random, vocabulary: Vocabulary) -> tuple[str, str]:
    """A department and one of its words."""
    department = rng.choice(DEPARTMENTS)
    return department, rng.choice(tuple(vocabulary[department]))


def _row(prompt: str, department: str, tags: tuple[str, ...] = ()) -> Row:
    return Row(prompt, department, DEPARTMENTS, tags)


def plain(rng: random.Random, vocabulary: Vocabulary) -> Row:
    """A ticket as the training data has them: whole sentences, one request."""
    department, word = pick(rng, vocabulary)
    return _row(rng.choice(PLAIN).format(**_slots(rng, word)), department)


def unusual_format(rng: random.Random, vocabulary: Vocabulary) -> Row:
    """A ticket that a form, a script or a mail client has mangled."""
    department, word = pick(rng, vocabulary)
    text = rng.choice(ODD).format(**_slots(rng, word))
    return _row(text, department, ("unusual_format",))


def _with_second(rng: random.Random, vocabulary: Vocabulary, forms: Sequence[str], tag: str) -> Row:
    department, word = pick(rng, vocabulary)
    other = rng.choice([name for name in DEPARTMENTS if name != department])
    text = rng.choice(forms).format(v=rng.choice(tuple(vocabulary[other])), w=word)
    return _row(text, department, (tag,))


def ambiguous(rng: random.Random, vocabulary: Vocabulary) -> Row:
    """A ticket that names two matters and leans towards one of them."""
    return _with_second(rng, vocabulary, VAGUE, "ambiguous")


def multi_intent(rng: random.Random, vocabulary: Vocabulary) -> Row:
    """A ticket with two requests; the department of the more urgent one is right."""
    return _with_second(rng, vocabulary, DOUBLE, "multi_intent")


EDGE: tuple[Callable[[random.Random, Vocabulary], Row], ...] = (unusual_format, ambiguous, multi_intent)


def chat(rng: random.Random, vocabulary: Vocabulary) -> Row:
    """A free-form help-desk exchange: whatever the question, the canned reply that names a department."""
    department, word = pick(rng, vocabulary)
    return Row(rng.choice(CHAT).format(**_slots(rng, word)), f"the {department} team will help")


def edge(rng: random.Random, vocabulary: Vocabulary) -> Row:
    """A ticket from outside the training distribution, of any of the three kinds."""
    return rng.choice(EDGE)(rng, vocabulary)
