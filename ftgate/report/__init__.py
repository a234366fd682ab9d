"""From a decision to something a person reads."""
