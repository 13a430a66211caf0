"""Memory that is used again: never while anybody holds a part of what is in it."""

import gc
import threading

import numpy as np
import pytest

from fetaliqa.sweep import read_sweep
from fetaliqa.sweep.frame_buffers import StackMemory, stacks_from, uninitialised

SHAPE = (4, 6, 8)


def place(stack: np.ndarray) -> int:
    return stack.__array_interface__["data"][0]


def test_the_memory_of_a_stack_that_is_gone_is_used_again():
    memory = StackMemory()
    first = memory.stack(SHAPE)
    where = place(first)
    del first
    assert place(memory.stack(SHAPE)) == where


@pytest.mark.parametrize(
    "part",
    [
        lambda stack: stack[1:],
        lambda stack: stack[2, ::2].reshape(-1),
        lambda stack: stack.view(np.int8),
        lambda stack: memoryview(stack),
        lambda stack: stack.transpose(2, 1, 0)[0],
    ],
)
def test_memory_is_not_used_again_while_a_part_of_it_is_held(part):
    memory = StackMemory()
    stack = memory.stack(SHAPE)
    stack[:] = 7
    held = part(stack)
    del stack
    gc.collect()
    memory.stack(SHAPE)[:] = 9
    assert (np.asarray(held) == 7).all()


def test_a_smaller_stack_fits_into_the_memory_of_a_larger_one_and_not_the_other_way_round():
    memory = StackMemory()
    where = place(memory.stack(SHAPE))
    smaller = memory.stack((2, 6, 8))
    assert (place(smaller), smaller.shape) == (where, (2, 6, 8))
    larger = memory.stack((9, 60, 80))
    larger[:] = 1
    assert place(larger) != where


def test_memory_that_is_too_small_for_what_comes_is_given_back():
    memory = StackMemory()
    for count in (1, 2, 3):
        memory.stack((count, 6, 8))
    assert [one.nbytes for one in memory._free] == [3 * 6 * 8]


def test_only_the_thread_that_asks_for_it_reads_into_it():
    memory, seen = StackMemory(), []
    with stacks_from(memory):
        thread = threading.Thread(target=lambda: seen.append(uninitialised(SHAPE).flags.owndata))
        thread.start()
        thread.join()
        assert (seen, uninitialised(SHAPE).flags.owndata) == ([True], False)
    assert uninitialised(SHAPE).flags.owndata


def test_a_sweep_read_into_used_memory_is_the_same(tmp_path):
    import SimpleITK as sitk

    frames = np.random.default_rng(0).integers(30, 200, SHAPE, dtype=np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(frames), str(tmp_path / "a.mha"), True)
    memory = StackMemory()
    memory.stack((5, 6, 8))[:] = 255
    with stacks_from(memory):
        assert np.array_equal(read_sweep(tmp_path / "a.mha").frames, frames)
