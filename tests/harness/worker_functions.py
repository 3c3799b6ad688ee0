"""Functions that workers run in tests: they must be importable by a spawned process."""

import os
import signal
import time
from pathlib import Path

from sgd_hf.core.errors import InputError
from sgd_hf.scienceworld.environment import play


def score(env, episode):
    return play(env, episode, env.gold_actions(episode))[1][-1].score


def pids(env, folder):
    Path(folder, str(env.pid)).touch()
    Path(folder, str(os.getpid())).touch()
    time.sleep(0.5)
    return os.getpid(), env.pid


def once(env, item):
    """Suffer ``fault`` at the first attempt (it leaves a mark), answer at the second."""
    fault, mark = item
    if not os.path.exists(mark):
        with open(mark, "w") as file:
            file.write(f"{os.getpid()} {env.pid}")
        suffer(env, fault)
    return env.pid


def always(env, fault):
    suffer(env, fault)


def suffer(env, fault):
    if fault == "jvm":
        os.kill(env.pid, signal.SIGKILL)
        env.valid_actions_of_a_dead_jvm = env._call(env._server.getNumMoves)
    elif fault == "worker":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault == "hang":
        os.kill(env.pid, signal.SIGSTOP)
        while True:  # a call that was under way may still be answered
            env._call(env._server.getNumMoves)
    elif fault == "input":
        raise InputError("This item cannot be used; give another.")


def forever(env, folder):
    Path(folder, str(env.pid)).touch()
    Path(folder, str(os.getpid())).touch()
    time.sleep(600)
