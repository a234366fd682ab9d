"""A zoo of real fine-tunes of one small model: what the gate says of each, beside what is true (docs/zoo.md)."""
