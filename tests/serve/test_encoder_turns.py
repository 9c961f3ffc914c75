import threading
import time

import pytest

from echobank.serve.encoder_turns import UPLOADS, Turns, TurnsOverError


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_parties_have_turns_in_the_order_in_which_they_came():
    turns, order = Turns(), []

    def work(party):
        with turns.turn(party):
            order.append(party)

    with turns.turn("first"):
        threads = []
        for number, party in enumerate(("b", "a", "c")):
            threads.append(threading.Thread(target=work, args=(party,)))
            threads[-1].start()
            while turns.waiting <= number:
                time.sleep(0.001)
    [thread.join(5) for thread in threads]
    assert order == ["b", "a", "c"]


def test_threads_of_one_party_work_together_until_others_have_waited_long():
    clock = Clock()
    turns, inside, done = Turns(0.5, clock), threading.Semaphore(0), []

    def work(party):
        with turns.turn(party):
            done.append(party)
            inside.release()

    with turns.turn("fit"):
        other = threading.Thread(target=work, args=("microphone",))
        other.start()
        while not turns.waiting:
            time.sleep(0.001)
        work("fit")  # within its half second
        clock.now = 0.6
        late = threading.Thread(target=work, args=("fit",))
        late.start()
        while turns.waiting < 2:
            time.sleep(0.001)
        assert done == ["fit"]
    [thread.join(5) for thread in (other, late)]
    assert done == ["fit", "microphone", "fit"]


def test_a_party_alone_goes_on_as_long_as_it_likes():
    clock = Clock()
    turns = Turns(0.5, clock)
    with turns.turn("fit"):
        clock.now = 100.0
        with turns.turn("fit"):
            pass


def test_after_the_end_uploads_alone_have_turns():
    turns, refused = Turns(), []

    def work():
        with pytest.raises(TurnsOverError), turns.turn("microphone"):
            pass
        refused.append(True)

    with turns.turn("fit"):
        thread = threading.Thread(target=work)
        thread.start()
        while not turns.waiting:
            time.sleep(0.001)
        turns.close()
        thread.join(5)
    assert refused
    with turns.turn(UPLOADS):
        pass


def test_an_error_gives_the_turn_away():
    turns = Turns()
    with pytest.raises(ValueError, match="x"), turns.turn("a"):
        raise ValueError("x")
    with turns.turn("b"):
        pass


def test_machines_of_one_encoder_share_it_and_judge_alike(bank, tmp_path):
    import shutil

    from echobank.machines.machine import open_machine
    from echobank.machines.score import score_stream
    from echobank.serve.encoder_turns import SharedEncoders
    from tests.machines.sounds import hum, write

    shutil.copytree(bank, bank.with_name("twin"))
    encoders = SharedEncoders()
    first, second = encoders.open(bank), encoders.open(bank.with_name("twin"))
    assert first.listener.encoder is second.listener.encoder
    path = write(tmp_path / "x.wav", hum(seed=100))
    expected = [v.score for (*vs,) in score_stream(open_machine(bank), [path]) for v in vs]
    for machine in (first, second):
        assert [v.score for (*vs,) in score_stream(machine, [path]) for v in vs] == expected
