"""ThreshBench: a recorded table of small networks on which searches can be replayed."""
