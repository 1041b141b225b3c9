"""Pairs of geoms that can touch, against the contacts of C MuJoCo between spheres that all overlap."""

import time

import mujoco
import numpy as np
import pytest

import diffsim
from diffsim.compile.pairs import pair_fields, touching_pairs

NUM_BODIES = 12


def overlapping_spheres(seed: int) -> mujoco.MjModel:
    """A random tree of bodies in one place, some without joints; random masks, excludes, <pair>s and parameters."""
    rng = np.random.default_rng(seed)
    spec = mujoco.MjSpec()
    if seed % 2:
        spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_FILTERPARENT
    bodies = [spec.worldbody]
    for i in range(NUM_BODIES):
        body = bodies[rng.integers(len(bodies))].add_body(name=f"b{i}")
        if rng.random() < 0.7:
            body.add_joint(type=mujoco.mjtJoint.mjJNT_HINGE)
        bodies.append(body)
    for i, body in enumerate(bodies):
        for j in range(rng.integers(1, 3)):
            add_sphere(body, f"{i} {j}", rng)
    geoms = [geom.name for geom in spec.geoms]
    for _ in range(6):
        first, second = rng.choice(geoms, 2, replace=False)
        spec.add_pair(geomname1=first, geomname2=second, condim=6, solref=[0.05, 0.7], solimp=[0.3, 0.4, 0.1, 0.5, 2])
        one, two = rng.choice(NUM_BODIES, 2, replace=False)
        spec.add_exclude(bodyname1=f"b{one}", bodyname2=f"b{two}")
    return spec.compile()


def add_sphere(body: mujoco.MjsBody, name: str, rng: np.random.Generator) -> None:
    """Adds a sphere at the body's origin with random contact parameters."""
    solref = [0.02, 1.0] if rng.random() < 0.8 else [-100.0, -10.0]
    body.add_geom(
        name=name,
        size=[1 + rng.random(), 0, 0],
        contype=int(rng.integers(8)),
        conaffinity=int(rng.integers(8)),
        condim=int(rng.choice([1, 3, 4, 6])),
        priority=int(rng.integers(2)),
        solmix=float(rng.choice([0.0, 1.0, 2.5])),
        solref=solref,
        solimp=[0.8 + 0.1 * rng.random(), 0.95, 0.001, 0.5, 2],
    )


@pytest.mark.parametrize("seed", range(8))
def test_pairs_and_parameters_are_those_of_contacts(seed):
    m = overlapping_spheres(seed)
    d = mujoco.MjData(m)
    mujoco.mj_forward(m, d)
    truth = {frozenset(c.geom.tolist()): [c.dim, *c.solref, *c.solimp] for c in d.contact}
    fields = pair_fields(m)
    rows = np.column_stack([fields["pair_condim"], *fields["solver"]])
    ours = {frozenset(key): row for *key, row in zip(fields["pair_geom1"], fields["pair_geom2"], rows, strict=True)}
    assert len(truth) > 20
    assert len(ours) == fields["npair"] == len(truth)
    assert ours.keys() == truth.keys()
    for pair, row in truth.items():
        np.testing.assert_allclose(ours[pair], row, rtol=1e-14, err_msg=str(pair))


def test_a_million_pairs_are_built_in_seconds():
    """A loop over the pairs in Python takes half a minute."""
    count = 1500
    body = '<body><joint/><geom size="1"/></body>'
    m = mujoco.MjModel.from_xml_string(f"<mujoco><worldbody>{count * body}</worldbody></mujoco>")
    start = time.process_time()
    model = diffsim.Model(m)
    assert time.process_time() - start < 5
    assert len(touching_pairs(model.mj_model)) == count * (count - 1) / 2
