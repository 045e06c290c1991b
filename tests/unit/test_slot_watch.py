"""A look that would see what the last one saw is spared; whatever is new, overdue or wanted is judged at the next look."""

from __future__ import annotations

import os

import pytest

from gateway import beat
from gateway.beat import boot_time
from gateway.session import Evidence, State
from gateway.settings import Settings
from gateway.supervision import Program, ProgramState
from gateway.watchdog import slot_watch
from gateway.watchdog.slot_watch import SlotWatch


class Notes:
    """Takes rows and writes none."""

    def note(self, op, *bells):
        return None


class Scene:
    """A healthy session whose host is this process; `judged` counts how often its state was judged."""

    def __init__(self, data, monkeypatch):
        settings = Settings(data=data)
        settings.make_directories()
        self.heart = beat.Heart(settings.beat("browser-default"))
        self.watch = SlotWatch(settings, "default", Notes(), None)
        self.programs = self.running()
        self.judged = 0
        real = slot_watch.judge

        def judge(facts):
            self.judged += 1
            return real(facts)

        monkeypatch.setattr(slot_watch, "judge", judge)

    def running(self):
        since = boot_time() - 100
        return {n: Program(n, ProgramState.RUNNING, os.getpid(), since) for n in ("browser-default", "chromium-default")}

    def beat(self, **more):
        now = boot_time()
        evidence = Evidence(
            session="default", state=State.READY, epoch=1, since=now - 90, connected=True, chromium_pid=os.getpid(), answered_at=now,
            canary=None, socket="CONNECTED", stream_mode="MAIN", stream_info="NORMAL", account="4900@c.us", synced_at=now - 80,
        ).as_dict()  # fmt: skip
        self.heart.beat({"evidence": evidence | more})

    def looks(self, at=None):
        """How often a look judges."""
        before = self.judged
        self.watch.look(self.programs, boot_time() if at is None else at)
        return self.judged - before


@pytest.fixture
def scene(tmp_path, monkeypatch):
    scene = Scene(tmp_path, monkeypatch)
    scene.beat()
    assert scene.looks() == 1
    yield scene
    scene.heart.close()


def test_the_same_beat_is_judged_once_and_the_next_one_again(scene):
    assert scene.looks() == scene.looks() == 0
    scene.beat()
    assert scene.looks() == 1


def test_a_beat_that_is_overdue_is_judged_at_each_look(scene):
    late = boot_time() + slot_watch.OVERDUE + 0.1
    assert scene.looks(late) == scene.looks(late + 0.25) == 1


def test_programs_that_were_asked_for_anew_are_judged(scene):
    scene.programs = scene.running()
    assert scene.looks() == 1


def test_a_request_is_taken_up_by_the_next_look(scene, monkeypatch):
    taken = []
    monkeypatch.setattr(scene.watch, "_take", lambda step, facts: taken.append(step))
    scene.watch.request("nudge", None)
    assert scene.looks() == 1
    assert taken


def test_an_end_is_taken_up_by_the_next_look_and_every_look_counts_while_a_recovery_runs(scene, monkeypatch):
    taken = []
    monkeypatch.setattr(scene.watch, "_take", lambda step, facts: taken.append(step))
    scene.watch.ended("browser-default")
    scene.looks()
    assert taken
    assert scene.looks() == scene.looks() == 1


def test_a_stop_by_the_operator_is_heeded_by_the_next_look_and_while_it_lasts(scene):
    scene.watch.desired_down = True
    assert scene.looks() == scene.looks() == 1
    scene.watch.desired_down = False
    assert scene.looks() == 1
    assert scene.looks() == 0


def test_the_full_check_comes_in_its_own_time_whatever_the_beats_do(scene):
    scene.watch._checked.at -= 31.0
    assert scene.looks() == 1
    assert boot_time() - scene.watch._checked.at < 5.0
