"""Whether vLLM has attention for the size of a model's heads: on a CPU it says so only when it first answers."""

from __future__ import annotations

from ftgate.preflight.fit import CheckState

CPU_HEAD_SIZES = frozenset({32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512})
"""Those of vLLM 0.32 (``CPUAttentionBackend.get_supported_head_sizes``), which takes seconds to import."""


def check_head_sizes(checks: CheckState) -> None:
    """Refuse models with heads of a size that vLLM's CPU build does not run. Latent attention has none of its own."""
    if not checks.cpu:
        return
    for role, size in checks.sizes.items():
        if checks.facts[role].kind == "adapter":  # its base has a role of its own
            continue
        if checks.settings_of(role).kind == "vllm" and size.head_width and size.head_width not in CPU_HEAD_SIZES:
            sizes = ", ".join(map(str, sorted(CPU_HEAD_SIZES)))
            checks.refuse(
                f"{checks.facts[role].reference}: its attention heads have {size.head_width} numbers each, and vLLM on "
                f"a CPU runs heads of {sizes}",
                "use engine: {kind: transformers}, or a GPU",
            )
