"""Statistics on plain numpy arrays. Nothing here knows about models, files or policies."""
