"""The simulator behind a lean, Gymnasium-style contract: tasks, one environment, a pool of worker processes."""
