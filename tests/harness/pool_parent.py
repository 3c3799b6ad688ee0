"""A program with two busy workers and no ``__main__`` guard, to be killed or interrupted: `pool_parent.py FOLDER` writes
their pids there as file names."""

import sys

import worker_functions

from sgd_hf.scienceworld.workers import Pool

with Pool(2) as pool:
    list(pool.run(worker_functions.forever, [sys.argv[1]] * 2))
