"""`ftgate check`: finds what would stop a run before one starts."""
