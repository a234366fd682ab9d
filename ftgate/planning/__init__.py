"""How many items each measurement needs, and what a run costs."""
