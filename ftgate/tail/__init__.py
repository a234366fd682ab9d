"""The tail: queries outside the training distribution."""
