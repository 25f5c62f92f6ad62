"""How many replicas: pure arithmetic over what the metrics said. Holds no I/O, no clock and no state."""
