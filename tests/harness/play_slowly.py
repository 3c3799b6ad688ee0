"""`sgd play` of an arm that takes its time before it waits."""

import time

from sgd_hf import cli
from sgd_hf.agent.policy import Act
from sgd_hf.core.prompts import State, Transcript
from sgd_hf.evaluation import arms


def begin(_, description, look, inventory):
    def requests():
        while True:
            time.sleep(0.3)
            yield Act("wait")

    return Transcript(description, State(look, inventory)), requests()


if __name__ == "__main__":
    arms.arm = lambda *_: arms.Arm("slow", begin)
    cli.main()
