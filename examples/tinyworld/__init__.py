"""A small synthetic world with real trained weights: one base model, five fine-tunes, one judge."""
