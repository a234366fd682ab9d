"""One run of the gate: ask both models, measure, decide, report."""
