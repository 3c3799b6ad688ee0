"""Child program of the kill test: annotates a gold folder with the rules, a path at a time, slowly.

python annotate_slowly.py GOLD OUT SECONDS
"""

import asyncio
import sys
from contextlib import asynccontextmanager

from sgd_hf.corpus.annotate import annotate
from sgd_hf.corpus.teachers import RuleTeacher


class SlowTeacher(RuleTeacher):
    @asynccontextmanager
    async def session(self):
        async with super().session() as ask:

            async def slowly(question):
                await asyncio.sleep(float(sys.argv[3]))
                return await ask(question)

            yield slowly


if __name__ == "__main__":
    annotate(sys.argv[1], sys.argv[2], SlowTeacher())
