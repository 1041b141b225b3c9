"""Sparsity of the rows' Jacobians and of the Hessian H = M + J' D J.

M couples a dof with its ancestors in the tree only, and so does a row that moves one chain of dofs; then the factor of
H has the same zeros. A row that couples several branches of the tree adds entries to H and to its factor.
"""

import warp as wp

from diffsim.physics.lanes import lane, lanes, owns, sync
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch

WORD = wp.constant(32)  # bits of a word of a mask


@wp.func_native(
    """
#if defined(__CUDA_ARCH__)
    return 31 - __clz(word);
#else
    return word ? 31 - __builtin_clz((unsigned)word) : -1;
#endif
"""
)
def highest_bit(word: int) -> int:
    """Index of the highest bit that is set, -1 for none."""
    ...


@wp.func
def bits(start: int, stop: int) -> int:
    """A word with the bits [start, stop) set, where 0 <= start and stop <= 32."""
    if stop <= start:
        return 0
    ones = ~wp.uint32(0) >> wp.uint32(WORD - (stop - start))
    return wp.int32(ones << wp.uint32(start))


@wp.func
def is_ancestor(parent: wp.array(dtype=wp.int32), ancestor: int, dof: int) -> int:
    """1 if M has an entry at (dof, ancestor), in its lower triangle."""
    d = dof
    while d > ancestor:
        d = parent[d]
    if d == ancestor:
        return 1
    return 0


@wp.func
def extend_runs(run: wp.array2d(dtype=wp.int32), first: int, last: int, dof: int) -> int:
    """Adds a dof, not above those before, to the runs [first, last); returns the new end."""
    if last > first:
        if run[last - 1, 0] <= dof:
            return last
        if run[last - 1, 0] == dof + 1:
            run[last - 1, 0] = dof
            return last
    run[last, 0] = dof
    run[last, 1] = dof + 1
    return last + 1


@wp.func
def chain_runs(
    parent: wp.array(dtype=wp.int32),
    first_dof: int,
    second_dof: int,
    common: int,
    run: wp.array2d(dtype=wp.int32),
    first: int,
    coupled: wp.array(dtype=wp.int32),
    world: int,
) -> int:
    """Writes the runs of the dofs that move two bodies, from the index `first`; returns their end.

    The dofs are the bodies' last ones. If `common` is 0, omits the dofs that move both.
    """
    last = first
    dof1 = first_dof
    dof2 = second_dof
    while dof1 != dof2:
        last = extend_runs(run, first, last, wp.max(dof1, dof2))
        if dof1 > dof2:
            dof1 = parent[dof1]
        else:
            dof2 = parent[dof2]
    if dof1 != first_dof and dof1 != second_dof:
        coupled[world] = 1
    while common == 1 and dof1 >= 0:
        last = extend_runs(run, first, last, dof1)
        dof1 = parent[dof1]
    return last


@wp.func
def add_bits(mask: wp.array(dtype=wp.int32), start: int, stop: int):
    """Sets the bits [start, stop)."""
    for word in range(start / WORD, (stop + WORD - 1) / WORD):
        low = wp.max(start - WORD * word, 0)
        high = wp.min(stop - WORD * word, WORD)
        mask[word] = mask[word] | bits(low, high)


@wp.func
def merge_below(source: wp.array(dtype=wp.int32), target: wp.array(dtype=wp.int32), dof: int):
    """Target |= source, for the bits below `dof`."""
    for word in range((dof + WORD - 1) / WORD):
        target[word] = target[word] | (source[word] & bits(0, wp.min(dof - WORD * word, WORD)))


@wp.func
def mask_hessian(m: ModelArrays, s: Scratch, world: int):
    """Fills `hessian_mask`: the columns, left of the diagonal, of M, of the rows and of the fill-in of the factor."""
    words = (m.nv + WORD - 1) / WORD
    for dof in range(lane(), m.nv, lanes()):
        for word in range(words):
            s.hessian_mask[world, dof, word] = 0
        for block in range(m.dof_address[dof], m.dof_address[dof + 1]):
            add_bits(s.hessian_mask[world, dof], m.dof_run[block, 0], m.dof_run[block, 1])
    previous = int(-1)
    for row in range(s.row_count[world]):
        first = s.row_first_run[world, row]
        if first != previous:  # rows of one constraint share their runs
            for block in range(first, s.row_last_run[world, row]):
                start = s.run[world, block, 0]
                for dof in range(start, s.run[world, block, 1]):
                    if owns(dof):
                        add_bits(s.hessian_mask[world, dof], start, dof)
                        for lower in range(block + 1, s.row_last_run[world, row]):
                            add_bits(s.hessian_mask[world, dof], s.run[world, lower, 0], s.run[world, lower, 1])
        previous = first
    sync()
    if lane() == 0:
        fill_in(m, s, world, words)


@wp.func(inline=True)
def fill_in(m: ModelArrays, s: Scratch, world: int, words: int):
    """Adds to `hessian_mask` what the elimination fills in."""
    for r in range(m.nv):
        dof = m.nv - 1 - r
        parent = last_column(s.hessian_mask[world, dof], words)
        if parent >= 0:
            merge_below(s.hessian_mask[world, dof], s.hessian_mask[world, parent], parent)


@wp.func
def last_column(mask: wp.array(dtype=wp.int32), words: int) -> int:
    """Highest bit of a mask that is set, -1 for none."""
    for w in range(words):
        word = words - 1 - w
        bit = highest_bit(mask[word])
        if bit >= 0:
            return WORD * word + bit
    return -1


@wp.func
def hessian_structure(m: ModelArrays, s: Scratch, world: int):
    """Fills the runs of the Hessian's rows, if the constraints' rows couple several branches of the tree."""
    if s.coupled[world] == 0:
        return
    mask_hessian(m, s, world)
    if lane() == 0:
        list_runs(m, s, world)
    sync()


@wp.func(inline=True)
def list_runs(m: ModelArrays, s: Scratch, world: int):
    """Fills the runs of the Hessian's rows from `hessian_mask`."""
    words = (m.nv + WORD - 1) / WORD
    count = int(0)
    for dof in range(m.nv):
        s.hessian_address[world, dof] = count
        for w in range(words):
            word = words - 1 - w
            rest = s.hessian_mask[world, dof, word]
            while rest != 0:
                stop = highest_bit(rest) + 1
                start = 1 + highest_bit(bits(0, stop) & ~rest)
                s.hessian_run[world, count, 0] = WORD * word + start
                s.hessian_run[world, count, 1] = WORD * word + stop
                count += 1
                rest = rest & bits(0, start)
    s.hessian_address[world, m.nv] = count
