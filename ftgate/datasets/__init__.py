"""Reading data files: every row is read, every bad one reported, and the content fingerprinted."""

from ftgate.datasets.builtin import dataset_paths
from ftgate.datasets.references import Needs
from ftgate.datasets.suites import read_parts, read_suite, write_suite
from ftgate.datasets.training import TrainingData, read_training_texts, user_text

__all__ = [
    "Needs",
    "TrainingData",
    "dataset_paths",
    "read_parts",
    "read_suite",
    "read_training_texts",
    "user_text",
    "write_suite",
]
