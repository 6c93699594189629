"""ThreshBench: a recorded table of small networks."""
