"""What to try next, from the report and the recipe of the training."""
