"""A pull request from its first push to its release, on a local fake of GitHub."""
