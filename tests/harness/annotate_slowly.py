"""Child program of the kill test: annotates a gold folder with the rules, a path at a time, slowly.

python annotate_slowly.py GOLD OUT SECONDS
"""

import sys
import time

from sgd_hf.corpus.annotate import annotate
from sgd_hf.corpus.teachers import RuleTeacher


class SlowTeacher(RuleTeacher):
    def complete(self, golds):
        time.sleep(float(sys.argv[3]))
        return super().complete(golds)


if __name__ == "__main__":
    annotate(sys.argv[1], sys.argv[2], SlowTeacher(), batch=1)
