"""Every way in which a user's command can fail, named by the boundary at which it failed.

Guarantee: each message is one sentence that says what happened, why, and what to do; the command line
prints it without a traceback and exits with 2. Anything else that is raised is a bug of ours.
"""

import errno
import signal
import sys
from collections.abc import Callable
from typing import Any


class SgdError(Exception):
    """Base of the family; never raised itself."""


class InputError(SgdError):
    """An argument, a recipe or a protocol that cannot be used: unknown task, variation out of range, unknown key."""


class StoreError(SgdError):
    """A stage folder that cannot be used: of another stage, of another configuration, damaged, or locked."""


class SimulatorError(SgdError):
    """ScienceWorld could not be started, died, or answered with an error of its own."""


class ServerError(SgdError):
    """A model server that could not be started, died, or does not do what was asked of it."""


class CheckpointError(SgdError):
    """A model folder that cannot be loaded: missing files, unsafe files, or trained for another prompt version."""


class HubError(SgdError):
    """The Hub could not be reached, refused, or holds something else than what was sent."""


def guarded(command: Callable[[], Any]) -> None:
    """Run a command for a user: what can fail outside our code ends in one sentence and exit code 2, an
    interruption in 130, a terminal that is closed alike; rows that are stored stay, and the same command resumes."""
    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) is signal.SIG_DFL:  # `nohup` has it ignored
            signal.signal(ending, _end)
    try:
        command()
    except SgdError as error:
        _leave(str(error), 2)
    except KeyboardInterrupt:
        _leave("interrupted; what is finished is kept, and the same command resumes.", 130)
    except ImportError as error:
        if not error.name:  # a library's own word about what its option needs
            _leave(" ".join(str(error).split()), 2)
        if not isinstance(error, ModuleNotFoundError) or error.name.startswith("sgd_hf"):
            raise
        extra = "teacher" if error.name == "openai" else "train"
        _leave(f"{error.name} is not installed and this command needs it; run `pip install 'sgd-hf[{extra}]'`.", 2)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
            raise
        _leave(f"{error.strerror} ({error.filename or 'while writing'}); mend that and repeat the command, which resumes.", 2)


def _end(number: int, _: Any) -> None:
    """End as after Ctrl-C, so that whatever the command has started (trainings, servers, simulators) ends with it."""
    raise SystemExit(128 + number)


def _leave(sentence: str, code: int) -> None:
    print(f"sgd: {sentence}", file=sys.stderr)
    raise SystemExit(code)
