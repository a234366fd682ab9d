"""vLLM, on GPU or CPU."""
