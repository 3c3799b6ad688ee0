"""Child program of the kill test: appends rows to a stage folder and says so, a line each, after `append` returned.

python append_rows.py FOLDER
"""

import sys

from sgd_hf.core.store import Store

if __name__ == "__main__":
    with Store(sys.argv[1], "collect", {"n": 1}) as store:
        for number in range(len(store.keys), 100_000):
            store.append(str(number), {"text": "x" * (number * 37 % 500)})
            print(number, flush=True)
