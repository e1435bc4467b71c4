# The oracle: plain C, double accumulation, one thread. Nothing to set.
