"""A GitHub of one's own: state, rules and faults over real HTTP, for tests and for the story in examples/."""
