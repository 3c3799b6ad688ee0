"""How a command ends: in one sentence, with its code, and with whatever it has started ended too."""

import signal
import subprocess
import sys

import pytest

from sgd_hf.core.errors import guarded

WAITING = """
import signal, sys, time
from sgd_hf.core.errors import guarded
{before}
def command():
    try:
        print("begun", flush=True)
        time.sleep({seconds})
    finally:
        print("ended what it had started", flush=True)
guarded(command)
"""


def waiting(before="signal.signal(signal.SIGHUP, signal.SIG_DFL)", seconds=60):
    child = subprocess.Popen([sys.executable, "-c", WAITING.format(before=before, seconds=seconds)], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "begun\n"
    return child


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_told_to_end_cleans_up(sent):
    child = waiting()
    child.send_signal(sent)
    assert child.communicate()[0] == "ended what it had started\n" and child.returncode == 128 + sent


def test_under_nohup_it_goes_on():
    child = waiting("signal.signal(signal.SIGHUP, signal.SIG_IGN)", 1)
    child.send_signal(signal.SIGHUP)
    child.communicate()
    assert child.returncode == 0


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            ImportError("You need to install `bits` to use\nthe optimizer bits."),
            "sgd: You need to install `bits` to use the optimizer bits.\n",
        ),
        (ModuleNotFoundError("No module named 'openai'", name="openai"), "run `pip install 'sgd-hf[teacher]'`"),
    ],
)
def test_what_is_not_installed_is_a_sentence(error, said, capsys):
    def command():
        raise error

    with pytest.raises(SystemExit) as left:
        guarded(command)
    assert left.value.code == 2 and said in capsys.readouterr().err


def test_a_bug_of_ours_keeps_its_traceback():
    def command():
        raise ImportError("cannot import name 'x' from 'sgd_hf.core'", name="sgd_hf.core")

    with pytest.raises(ImportError):
        guarded(command)
