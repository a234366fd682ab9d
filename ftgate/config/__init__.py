"""The two files that people write: the policy and the manifest."""
