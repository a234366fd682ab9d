"""Text embeddings for distances."""
