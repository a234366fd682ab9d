"""A pull request from its first push to its release, on a platform of one's own."""
