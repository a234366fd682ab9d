"""Models in vLLM, on a GPU or a CPU."""
