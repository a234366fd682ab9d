"""Suites whose prompts are too long for the models that are to be asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftgate.datasets.builtin import PREFIX
from ftgate.jobs.configuration import Configuration
from ftgate.jobs.prepare import Resolvers, load_configured
from ftgate.measurements.registry import kind_of
from ftgate.preflight.check import preflight
from ftgate.preflight.findings import Preflight, Prompts
from ftgate.preflight.hardware import detect
from ftgate.preflight.prompt_lengths import LEAST_ANSWER
from ftgate.preflight.templates import FEW

_OWN = ", which is the model's own"
IN_A_POLICY = "in a policy, which `ftgate run --write-policy FOLDER` writes"
"""Where the remedy goes, for a run that has no policy of its own yet."""


def too_long_suites(configuration: Configuration, resolvers: Resolvers) -> dict[str, Prompts]:
    """The prompts of the measurements for which more than a few of the suite's do not fit into the models' context.

    Of several models that are asked, those of the one with the least room. Anything else that is wrong is left for the
    run to say.
    """
    return too_long_prompts(preflight(load_configured(configuration, resolvers), detect(), build=lambda _: []))


def too_long_prompts(result: Preflight) -> dict[str, Prompts]:
    """As :func:`too_long_suites`, of what was checked already."""
    too_long = [each for each in result.prompts if each.too_long > FEW * each.items]
    return {each.suite: each for each in sorted(too_long, key=lambda each: each.longest - each.limit)}


def unfit_suites(sections: Mapping[str, Mapping[str, Any]], too_long: Mapping[str, Prompts]) -> dict[str, str]:
    """The measurements in ``too_long`` whose suites are built in, so that nobody chose them by name, and why.

    ``sections`` are the measurements of a policy.
    """
    datasets = {name: str(section.get("dataset")) for name, section in sections.items()}
    return {
        name: f"{each.too_long} of {each.items} prompts of {datasets[name]} do not fit into a context of "
        f"{each.where}{_OWN * (not each.setting)}; {_remedy(name, sections[name], each)}"
        for name, each in too_long.items()
        if datasets.get(name, "").startswith(PREFIX)
    }


def _remedy(name: str, section: Mapping[str, Any], prompts: Prompts) -> str:
    """Which setting makes the prompts of a measurement fit."""
    kind = kind_of(name)
    tokens = section.get("max_tokens") or (kind.model_fields["max_tokens"].default if kind is not None else 0)
    left = tokens - (prompts.longest - prompts.limit)
    ways = [f"set measurements.{name}.max_tokens to at most {left:,} (now {tokens:,})"] if left >= LEAST_ANSWER else []
    ways += [prompts.room] if prompts.setting else []
    return " or ".join(ways) or f"name shorter rows of your own as measurements.{name}.dataset"
