"""Which queries lie outside the training distribution."""
