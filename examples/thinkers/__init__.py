"""A model of a hundred thousand parameters that thinks before it answers, and three fine-tunes of it."""
