"""`ftgate doctor` on what evaluates: runners of the repository and its organisation, the image, the cache folder."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ftgate.artifacts.sources.oci import image_digest
from ftgate.errors import ArtifactError
from ftgate.github.client import GitHubRepo
from ftgate.github.findings import Level, SetupCheck
from ftgate.github.retry import RefusedError
from ftgate.github.workflow_file import GateWorkflow

GIGABYTE = 1_000_000_000


def check_runners(repo: GitHubRepo, path: str, workflow: GateWorkflow, settings: str) -> Iterator[SetupCheck]:
    """Whether a runner of the repository or of its organisation has the labels and is online."""
    if workflow.bad_runner:
        labels = re.findall(r"[^\s,\[\]'\"]+", workflow.bad_runner)
        text = f"{path}: runner: {workflow.bad_runner} is not JSON: no run starts"
        yield SetupCheck("missing", text, f"runner: '{json.dumps(labels)}'")
        return
    if not workflow.labels:
        fix = "name its labels in the workflow, where they can be compared with the runners'"
        yield SetupCheck("note", "the workflow does not say by name which runner evaluates", fix)
        return
    named = ", ".join(sorted(workflow.labels))
    own = repo.read_all("/actions/runners", "list the runners", within="runners")
    try:
        shared, hidden = repo.organisation_runners(), ""
    except RefusedError as error:
        shared, hidden = [], error.message
    fitting = [runner for runner in [*own, *shared] if workflow.labels <= _labels_of(runner)]
    online = next((runner for runner in fitting if runner["status"] == "online"), None)
    if online is not None:
        where = "" if online in own else " of the organisation"
        yield SetupCheck("ok", f"a runner{where} with the labels {named} is online")
    elif fitting:
        fix = f"start {fitting[0]['name']}: on the machine, ./svc.sh start in the runner's folder"
        yield SetupCheck("missing", f"no runner with the labels {named} is online", fix)
    elif hidden:
        fix = f"look there for one, or give a token with organization_self_hosted_runners: read ({hidden})"
        text = f"the repository has no runner with the labels {named}, and the organisation's cannot be listed"
        yield SetupCheck("note", text, fix)
    else:
        similar = _most_similar([*own, *shared], workflow.labels)
        fix = f"{settings}/actions/runners: install one with these labels" + similar
        text = f"neither the repository nor its organisation has a runner with the labels {named}"
        yield SetupCheck("missing", text, fix)


def check_images(workflow: GateWorkflow) -> Iterator[SetupCheck]:
    """Whether the images that the workflow names exist and are pinned by a digest."""
    named = {name: workflow.inputs.get(name, "") for name in ("image", "base-image")}
    if not any(named.values()):
        yield SetupCheck("ok", "the image is built on the machine, from the actions' commit")
    for name, image in named.items():
        if not image:
            continue
        if "${{" in image:
            yield SetupCheck("note", f"{name} is an expression, {image}, which is not looked up", "name it by digest")
            continue
        try:
            digest = image_digest(image)
        except ArtifactError as error:
            level: Level = "missing" if error.message.endswith("not found") else "unknown"
            text = error.message.removeprefix("oci://")
            yield SetupCheck(level, f"{name} {text}", error.hint or "check its name, and the login to its registry")
            continue
        if "@sha256:" in image:
            yield SetupCheck("ok", f"{name} exists, and is pinned by its digest")
        else:
            yield SetupCheck(
                "missing",
                f"{name} {image} is named by a tag, which can be moved to another image",
                f"name it by what it is now: {name}: {re.sub(r':[^/:]*$', '', image)}@{digest}",
            )


def check_cache(workflow: GateWorkflow, cache_gb: float, hosted: Path | None = None) -> Iterator[SetupCheck]:
    """Whether this user may use the cache folder, and whether it has room for ``cache_gb``, if it is on this machine.

    ``hosted`` is the folder of the tool cache, where the cache is by default; None if this machine has no runner.
    """
    given = workflow.inputs.get("cache", "")
    if not given or "${{" in given:
        if hosted is None:
            fix = "run `ftgate doctor` there, as the runner's user and with its RUNNER_TOOL_CACHE, to check it"
            yield SetupCheck("note", "the cache is in the tool cache of the machine with the GPUs: not this one", fix)
            return
        folder = hosted / "ftgate"
    else:
        folder = Path(given)
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not folder.exists() and not (given == "" and os.access(existing, os.W_OK)):
        fix = f"on the machine with the GPUs, as the runner's user: sudo install -d -o $(id -u) -g $(id -g) {folder}"
        yield SetupCheck("note", f"the folder {folder} of the input cache is not on this machine", fix)
        return
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        owner = f"it belongs to the user {existing.stat().st_uid}"
        fix = f"sudo chown -R $(id -u):$(id -g) {folder}, as the runner's user"
        yield SetupCheck("missing", f"the user {os.getuid()} cannot write to {folder}, the input cache: {owner}", fix)
        return
    free = shutil.disk_usage(existing).free / GIGABYTE
    if free < cache_gb:
        text = f"{folder} has {free:.0f} GB free, and the cache may grow to {cache_gb:.0f} GB"
        yield SetupCheck("note", text, f"free space, or set artifacts: {{cache_gb: {int(free * 0.9)}}} in the policy")
    else:
        yield SetupCheck("ok", f"{folder} belongs to this user and has {free:.0f} GB free for the cache")


def _labels_of(runner: dict[str, Any]) -> set[str]:
    return {label["name"].lower() for label in runner["labels"]}


def _most_similar(runners: list[dict[str, Any]], labels: frozenset[str]) -> str:
    """What the most similar runner lacks, as a part of the fix."""
    ranked = sorted(runners, key=lambda runner: len(labels - _labels_of(runner)))
    if not ranked or len(labels - _labels_of(ranked[0])) == len(labels):
        return ""
    return f"; {ranked[0]['name']} lacks only {', '.join(sorted(labels - _labels_of(ranked[0])))}"
