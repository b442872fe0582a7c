"""The parts of the Data tab: the shelf, adding, and what can be seen and done with one set. Knows no worker, no torch."""
