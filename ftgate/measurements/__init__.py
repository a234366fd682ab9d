"""The four measurements, one file each."""
