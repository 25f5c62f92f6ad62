"""Stand-ins for hardware that the test machine lacks, speaking the real interfaces; used by tests and the demo only."""
