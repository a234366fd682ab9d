"""``python -m ftgate``: the same as the command ``ftgate``."""

from ftgate.cli.main import entry

if __name__ == "__main__":
    entry()
