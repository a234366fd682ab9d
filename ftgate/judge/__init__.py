"""The judge: what it is asked, and whether it has earned its vote."""
