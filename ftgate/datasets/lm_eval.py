"""Tasks of the lm-evaluation-harness as suites: documents, prompts, choices and metric come from the installed package.

Nothing of the harness is imported before a policy names one of its tasks. A task file is a program: it may name Python
functions, which the harness runs, so that only the policy can name one.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import version
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from ftgate.config.lm_eval import PREFIX, LmEvalSettings
from ftgate.datasets.suites import suite_of_items
from ftgate.domain import Item, Message, Suite, TaskRequest
from ftgate.errors import ConfigurationError
from ftgate.scoring.task_requests import METRICS, request_problem
from ftgate.scoring.text import UnscorableError

SEEDS = (0, 1234, 1234)
"""The harness's own defaults: for Python's random numbers, numpy's, and those that draw worked examples."""
_RIGHT_OR_WRONG = frozenset({"exact_match", "em", "pass", "correct"})
_MULTIPLE_CHOICE, _TEXT = "multiple_choice", "generate_until"
_LOADED: dict[tuple[str, str], Any] = {}
"""Every task that this process has loaded, by the policy's name for it and its own: scoring needs it again."""


def require_harness(dataset: str) -> None:
    """Raise ConfigurationError, with what to install, if the harness is not there."""
    if importlib.util.find_spec("lm_eval") is None:
        raise ConfigurationError(
            f"{dataset} is a task of the lm-evaluation-harness, which is not installed",
            hint="install it: pip install 'finetune-gate[lm-eval]'",
        )


def read_task(name: str, dataset: str, folder: Path, settings: LmEvalSettings | None) -> Suite:
    """The documents of the task ``dataset`` (``lm-eval:TASK``, or a YAML file under ``folder``) as the suite ``name``.

    Raises ConfigurationError if the harness is missing, cannot load the task, or gives it no score for each document.
    """
    require_harness(dataset)
    settings = settings or LmEvalSettings()
    items: list[Item] = []
    notes: list[str] = []
    tasks = _load(dataset, folder)
    for leaf, task in tasks.items():
        reader = _TaskReader(dataset, leaf, task, settings, tagged=len(tasks) > 1)
        # One count over all tasks of a group: what is left out as a repeat is found by its line.
        own = [replace(item, line=line) for line, item in enumerate(reader.items(), len(items) + 1)]
        items += own
        notes.append(reader.note(len(own)))
    shown = [*notes[:3], *([f"and {len(notes) - 3} more tasks"] if len(notes) > 3 else [])]
    return suite_of_items(name, items, dataset, (f"read as lm-evaluation-harness {version('lm_eval')}", *shown))


def harness_score(dataset: str, request: TaskRequest, text: str) -> float:
    """The score in [0, 1] that the harness gives ``text`` as the answer to a document.

    Only tasks that :func:`read_task` has read in this process score: nothing is loaded here, since a task is a program.
    Raises UnscorableError if there is no such score, ConfigurationError if the task was not read.
    """
    task = _LOADED.get((dataset, request.task))
    if task is None:
        raise score_missing(dataset, request.task)
    return _score(task, request, text)


def score_missing(dataset: str, task: str) -> ConfigurationError:
    """The error for a score that is not in the journal where the task, which gives it, is not to be loaded."""
    gives = f"only a run loads the task {task} ({dataset}), which gives it"
    return ConfigurationError(
        f"the score of an answer is not in the journal, and {gives}",
        hint="run `ftgate run` again with the same --out: it asks nothing twice",
    )


class _TaskReader:
    """Turns the documents of one task into items."""

    def __init__(self, dataset: str, leaf: str, task: Any, settings: LmEvalSettings, *, tagged: bool) -> None:
        self._where = dataset if dataset.removeprefix(PREFIX) == leaf else f"{dataset}: {leaf}"
        self._leaf, self._task, self._settings, self._tagged = leaf, task, settings, tagged
        self._output = str(task.OUTPUT_TYPE)
        self._metric, self._filter = self._chosen()

    def items(self) -> Iterator[Item]:
        """An item for each document, in the task's order. Raises ConfigurationError if one cannot be asked."""
        groups: dict[int, list[Any]] = {}
        for instance in self._instances():
            groups.setdefault(instance.doc_id, []).append(instance)
        tried = False
        for number, instances in groups.items():
            item = self._item(number, instances)
            if item.request is not None and item.request.document is not None and not tried:
                self._require_score(item, item.request)
                tried = True
            yield item

    def note(self, count: int) -> str:
        """What was read, in a few words."""
        shots = self._task.get_config("num_fewshot")
        chosen = f"metric {self._metric}" + (f", filter {self._filter}" if self._output == _TEXT else "")
        return f"task {self._leaf}: {count:,} documents, {shots} worked examples in each prompt, {chosen}"

    def _chosen(self) -> tuple[str, str]:
        """The metric and the filter that count. Raises ConfigurationError if the task does not have them."""
        if self._output not in (_MULTIPLE_CHOICE, _TEXT):
            raise self._refused(
                f"its output type is {self._output}, which has no score from 0 to 1 for each document",
                f"use a task of type {_MULTIPLE_CHOICE} or {_TEXT}",
            )
        task = self._task
        by_choice = self._output == _MULTIPLE_CHOICE
        if by_choice and callable(task.config.process_results):
            raise self._refused("it scores log-likelihoods with a function of its own", "use another task")
        offered = [str(name) for name in task._metric_fn_list if not by_choice or name in METRICS]
        metric = self._settings.metric or next(iter(offered), "")
        if metric not in offered:
            all_named = ", ".join(map(str, task._metric_fn_list)) or "none"
            usable = f"set lm_eval.metric to one of {', '.join(offered)}" if offered else "use another task"
            raise self._refused(f"metric {metric or 'of each document'!r} is not to be had; it has {all_named}", usable)
        if not task.higher_is_better().get(metric, True):
            raise self._refused(f"of its metric {metric} lower is better", "use a metric of which higher is better")
        filters = [ensemble.name for ensemble in getattr(task, "_filters", [])]
        chosen = self._settings.filter or next(iter(filters), "none")
        if chosen not in filters and (filters or self._settings.filter):
            raise self._refused(f"it has no filter {chosen!r}", f"set lm_eval.filter to one of {', '.join(filters)}")
        return metric, "" if by_choice else chosen

    def _instances(self) -> Sequence[Any]:
        """The harness's requests for all documents, built with its own seeds."""
        task, settings = self._task, self._settings
        shots = task.get_config("num_fewshot")
        if shots is None or (settings.num_fewshot is not None and shots != 0):
            task.set_config(key="num_fewshot", value=settings.num_fewshot or 0)
        task.set_fewshot_seed(seed=SEEDS[2])
        with self._harness("building its prompts"):
            task.build_all_requests(
                rank=0, world_size=1, apply_chat_template=settings.apply_chat_template, chat_template=_as_json
            )
        return list(task.instances)

    def _item(self, number: int, instances: Sequence[Any]) -> Item:
        first = instances[0]
        if first.repeats not in (None, 1):
            raise self._refused(f"it asks {first.repeats} times for each document", "use a task that asks once")
        with self._harness(f"reading document {number}"):
            request = self._choice_request(instances) if self._output == _MULTIPLE_CHOICE else self._text_request(first)
            text = self._task.doc_to_text(first.doc)
            answer = self._reference(first.doc, request)
        if problem := request_problem(request):
            raise self._refused(f"document {number}: {problem}", "leave such documents out of the task")
        shown = text if isinstance(text, str) else _own_text(request)
        tags = ([self._leaf] if self._tagged else []) + [
            str(first.doc[key]) for key in ("subject", "category") if isinstance(first.doc.get(key), str)
        ]
        messages = (Message("user", shown if shown.strip() else " / ".join(request.choices) or self._leaf),)
        tags = [tag for tag in dict.fromkeys(tags) if tag.strip()]
        return Item(f"{self._leaf}-{number}", messages, request.choices, answer, tuple(tags), request=request)

    def _choice_request(self, instances: Sequence[Any]) -> TaskRequest:
        task, document = self._task, instances[0].doc
        pairs = [(str(i.arguments[0]), str(i.arguments[1])) for i in instances]
        choices = tuple(map(str, task.doc_to_choice(document)))
        pairs = pairs[: len(choices)]  # further ones are those of acc_mutual_info, which is not supported
        contexts = tuple(context for context, _ in pairs)
        different = len(set(contexts)) > 1
        if different and self._settings.apply_chat_template:
            raise self._refused("each of its choices has a prompt of its own", "leave out lm_eval.apply_chat_template")
        gold = task.doc_to_text(document) if task.multiple_input else task.doc_to_target(document)
        return self._request(
            contexts[0],
            choices=choices,
            continuations=tuple(continuation for _, continuation in pairs),
            prompts=contexts if different else (),
            gold=self._places(gold, choices, instances[0].doc_id),
        )

    def _places(self, gold: Any, choices: Sequence[str], number: int) -> tuple[int, ...]:
        """The places of the right choices, as the harness reads them."""
        places = tuple(gold) if isinstance(gold, list | tuple) else (gold,)
        places = tuple(choices.index(p) if isinstance(p, str) and p in choices else p for p in places)
        if not places or not all(isinstance(p, int) and 0 <= p < len(choices) for p in places):
            raise self._refused(
                f"document {number} has no right choice: {gold!r:.80} of {len(choices)}", "leave such documents out"
            )
        return places

    def _text_request(self, instance: Any) -> TaskRequest:
        from lm_eval.models.utils import normalize_gen_kwargs

        prompt, options = instance.arguments[:2]
        if len(instance.arguments) > 2:
            raise self._refused("it asks about pictures or sounds", "use a task of texts alone")
        options = normalize_gen_kwargs(dict(options))
        if options.get("do_sample"):
            raise self._refused(
                f"it samples its answers (temperature {options.get('temperature')})", "use a task that decodes greedily"
            )
        until = options.get("until") or []
        stops = tuple(text for text in ([until] if isinstance(until, str) else until) if text)
        try:
            document = json.loads(json.dumps(dict(instance.doc), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise self._refused(f"document {instance.doc_id} cannot be kept: {error}", "use another task") from None
        return self._request(
            str(prompt),
            until=stops,
            max_tokens=int(options["max_gen_toks"]),
            filter=self._filter,
            document=document,
            graded=not (self._metric in _RIGHT_OR_WRONG or self._metric.endswith("acc")),
        )

    def _request(self, prompt: str, **fields: Any) -> TaskRequest:
        chat = self._settings.apply_chat_template
        if chat and json.loads(prompt)[-1]["role"] != "user":
            raise self._refused("it begins the answer itself (gen_prefix)", "leave out lm_eval.apply_chat_template")
        return TaskRequest(self._leaf, self._metric, prompt, chat=chat, harness=version("lm_eval"), **fields)

    def _reference(self, document: Any, request: TaskRequest) -> str | None:
        if request.choices:
            return request.choices[request.gold[0]]
        target = self._task.doc_to_target(document)
        if self._task.config.doc_to_choice is not None and isinstance(target, int):
            return str(self._task.doc_to_choice(document)[target])
        target = target[0] if isinstance(target, list | tuple) and target else target
        return str(target) if str(target).strip() else None

    def _require_score(self, item: Item, request: TaskRequest) -> None:
        """Raise ConfigurationError unless the metric is a number for one document, as those of a whole text are not."""
        try:
            _score(self._task, request, item.answer or "")
        except UnscorableError as problem:
            hint = f"set lm_eval.metric to another of {', '.join(map(str, self._task._metric_fn_list))}"
            raise self._refused(str(problem), hint) from None

    @contextlib.contextmanager
    def _harness(self, doing: str) -> Iterator[None]:
        try:
            with _quiet():
                yield
        except ConfigurationError:
            raise
        except Exception as error:
            raise self._refused(
                f"the harness failed while {doing}: {type(error).__name__}: {error}", "try `lm-eval` on it"
            ) from error

    def _refused(self, problem: str, hint: str) -> ConfigurationError:
        return ConfigurationError(f"{self._where}: {problem}", hint=hint)


def _own_text(request: TaskRequest) -> str:
    """The text of a document whose choices lie within it, as in WinoGrande: with the right one, as it is trained on.

    The prompts hold the worked examples, too, which would count as the document's own text where texts are compared.
    """
    return "".join(request.choices[place] + request.continuations[place] for place in request.gold[:1])


def _load(dataset: str, folder: Path) -> dict[str, Any]:
    """The tasks that ``dataset`` names, by their own names: one, or those of a group."""
    registered = dataset.startswith(PREFIX)
    path = Path() if registered else (folder / dataset).resolve()
    if not registered and not path.is_file():
        raise ConfigurationError(f"no such task file: {path}", hint="name a YAML file relative to the policy")
    random.seed(SEEDS[0])
    np.random.seed(SEEDS[1])
    try:
        # Data files that a task file names lie relative to it.
        with _quiet(), contextlib.nullcontext() if registered else contextlib.chdir(path.parent):
            tasks: Mapping[str, Any] = _manager().load(dataset.removeprefix(PREFIX) if registered else str(path))[
                "tasks"
            ]
    except Exception as error:
        raise ConfigurationError(
            f"{dataset}: the lm-evaluation-harness cannot load it: {type(error).__name__}: {error}",
            hint="`lm-eval ls tasks` lists the tasks; try it with `lm-eval run --tasks`",
        ) from error
    _LOADED.update({(dataset, leaf): task for leaf, task in tasks.items()})
    return dict(tasks)


@lru_cache(maxsize=1)
def _manager() -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager()


def _as_json(messages: Sequence[Mapping[str, str]], add_generation_prompt: bool = True) -> str:  # noqa: ARG001
    """In the place of a chat template: the conversation itself, for the engine to render with the model's own."""
    return json.dumps([{"role": m["role"], "content": m["content"]} for m in messages])


def _score(task: Any, request: TaskRequest, text: str) -> float:
    from lm_eval.api.instance import Instance

    instance = Instance(request_type=_TEXT, doc=request.document, arguments=(request.prompt, {}), idx=0)
    instance.resps = [text]
    try:
        with _quiet():
            for ensemble in getattr(task, "_filters", []):
                if ensemble.name == request.filter:
                    ensemble.apply([instance])
            result = instance.filtered_resps.get(request.filter, text)
            value = task.process_results(request.document, [result]).get(request.metric)
    except Exception as error:
        raise UnscorableError(f"metric {request.metric} raised {type(error).__name__}: {error}") from error
    if not isinstance(value, Real | np.bool_) or not 0 <= float(value) <= 1:
        raise UnscorableError(f"metric {request.metric} gave {value!r:.80}, no number from 0 to 1 for one document")
    return float(value)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the harness's progress bars and logs from the terminal."""
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        yield
