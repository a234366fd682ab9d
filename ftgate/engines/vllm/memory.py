"""How the engines of a run share the memory of a GPU: by weight if all fit, otherwise in turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ftgate.config.engine import EngineSettings
from ftgate.domain import Model
from ftgate.engines.vllm import startup

LEAST_BYTES = 1 << 30
"""What an engine needs beside its weights and a quarter of them, for KV cache and activations."""


class MemoryHolder(Protocol):
    """Holds a share of the GPU memory, and can release it."""

    @property
    def memory_share(self) -> float:
        """The share it holds."""
        ...

    def unload(self) -> None:
        """Release it."""
        ...


@dataclass(slots=True)
class _Reservation:
    """What ``holder`` will load: the bytes that each folder of full weights needs on each GPU, None if unknown.

    ``utilization`` is the share of each GPU in ``devices`` that it may use.
    """

    holder: MemoryHolder
    utilization: float
    devices: frozenset[int]
    needs: dict[Path, float | None] = field(default_factory=dict)


_reservations: list[_Reservation] = []
_holders: list[MemoryHolder] = []
"""Holders of GPU memory in this process, least recent first: the engines of the models and of the judge."""


def device_memory() -> int | None:
    """Bytes of one GPU; None on a CPU, where engines share the machine's memory as all programs do."""
    if startup.on_cpu():
        return None
    from vllm.platforms import current_platform

    return int(current_platform.get_device_total_memory())


def needed_memory(weights: float, devices: int = 1) -> float:
    """The bytes that an engine with ``weights`` bytes needs on each of ``devices``: 1 GiB more than 5/4 of its part."""
    return 1.25 * weights / devices + LEAST_BYTES


def fit_together(needs: Sequence[float | None], capacity: float) -> bool:
    """Whether engines with these needs, in bytes, fit together into ``capacity`` bytes; not if one is unknown."""
    return None not in needs and sum(need or 0 for need in needs) <= capacity


def reserve(holder: MemoryHolder, bases: Sequence[Model], settings: EngineSettings) -> None:
    """Note that ``holder`` will load these full weights, so that the memory is shared before the first one loads."""
    reservation = _reservation_of(holder)
    if reservation is None:
        reservation = _Reservation(holder, settings.gpu_memory_utilization, settings.used_devices)
        _reservations.append(reservation)
    reservation.needs |= {base.path: _need(base, settings) for base in bases}


def release(holder: MemoryHolder) -> None:
    """Forget what ``holder`` reserved."""
    _reservations[:] = [each for each in _reservations if each.holder is not holder]


def all_fit(settings: EngineSettings) -> bool:
    """Whether all that engines of this process reserved memory for, on the GPUs of ``settings``, is loaded at once."""
    beside = _reserved_on(settings.used_devices)
    needs = [need for each in beside for need in each.needs.values()]
    return _fit(needs, max((each.utilization for each in beside), default=1.0))


def own_fit(holder: MemoryHolder, more: Sequence[Model], settings: EngineSettings) -> bool:
    """Whether the weights of ``holder``, and ``more`` of it, can be loaded at once if nothing else is."""
    reservation = _reservation_of(holder)
    reserved = reservation.needs if reservation is not None else {}
    needs = {base.path: _need(base, settings) for base in more} | reserved
    return len(needs) < 2 or _fit(list(needs.values()), settings.gpu_memory_utilization)


def share_of(holder: MemoryHolder, base: Model, settings: EngineSettings) -> float:
    """The share of each GPU's memory for the engine of ``base``: by what it needs of all that is loaded with it."""
    reservation = _reservation_of(holder)
    assert reservation is not None, "an engine reserves memory before it starts"
    needs = [need for each in _reserved_on(settings.used_devices) for need in each.needs.values()]
    if not all_fit(settings):
        needs = list(reservation.needs.values()) if own_fit(holder, (), settings) else []
    need = reservation.needs[base.path]
    if need is None or len(needs) < 2:
        return settings.gpu_memory_utilization
    return settings.gpu_memory_utilization * need / sum(each or 0 for each in needs)


def make_room(holder: MemoryHolder, share: float) -> None:
    """Make other holders on its GPUs release memory, least recent first, until ``share`` is free."""
    if holder in _holders:
        _holders.remove(holder)
    own = _reservation_of(holder)
    rivals = [
        other for other in _holders if own is None or (at := _reservation_of(other)) is None or own.devices & at.devices
    ]
    for other in rivals:
        if holder.memory_share + sum(each.memory_share for each in rivals) + share > 1:
            other.unload()
    _holders[:] = [each for each in _holders if each.memory_share] + [holder]


def _reserved_on(devices: frozenset[int]) -> list[_Reservation]:
    return [each for each in _reservations if each.devices & devices]


def _need(base: Model, settings: EngineSettings) -> float | None:
    weights = int(base.facts.get("weight_bytes", 0))
    return needed_memory(weights, settings.gpus) if weights else None


def _fit(needs: Sequence[float | None], share: float) -> bool:
    memory = device_memory()
    return memory is None or fit_together(needs, share * memory)


def _reservation_of(holder: MemoryHolder) -> _Reservation | None:
    return next((each for each in _reservations if each.holder is holder), None)
