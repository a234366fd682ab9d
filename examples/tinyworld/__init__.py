"""A small synthetic world with real trained weights: two base models, eight fine-tunes, one judge."""
