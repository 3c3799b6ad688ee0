"""A program that serves and waits, to be killed or interrupted: `serving_parent.py ENVIRONMENT MODEL`."""

import sys
import time
from pathlib import Path

from sgd_hf.core.errors import guarded
from sgd_hf.corpus.serving import serving


def main():
    with serving(sys.argv[2], environment=Path(sys.argv[1])) as url:
        print(url, flush=True)
        time.sleep(1000)


if __name__ == "__main__":
    guarded(main)
