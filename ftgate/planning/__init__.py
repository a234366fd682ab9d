"""`ftgate plan`: statistical power, the items that each measurement needs, and a run's cost."""
