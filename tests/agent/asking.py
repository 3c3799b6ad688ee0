"""What a module is asked in tests of how it answers."""

from sgd_hf.agent.policy import Ask


def ask(messages, **restrictions):
    return Ask("planner", messages, **restrictions)
