"""ThreshBench: a recorded table of small networks, for replaying searches."""
