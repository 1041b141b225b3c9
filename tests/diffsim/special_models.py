"""Small models at exact states where a branch of the dynamics turns: rest lengths, ends of ranges, zero velocities."""

from dataclasses import dataclass

import mujoco
import numpy as np

from .reference import converge

LINK = '<geom type="capsule" fromto="0 0 0 .3 0 .1" size=".03"/>'
BOX = '<geom type="box" size=".1 .2 .3"/>'
PLANE = '<geom type="plane" size="1 1 1"/>'
ALL = ("Euler", "implicitfast", "RK4")
FIXED = '<joint joint1="{}" solimp=".5 .95 .001 .5 1"/>'
TURNED = (0.0, 1.0, 0.0, 0.0)  # by pi


@dataclass(frozen=True)
class Special:
    """A model at a state; empty parts of the state are those of qpos0 at rest without control."""

    bodies: str
    rest: str = ""
    option: str = ""
    qpos: tuple[float, ...] = ()
    qvel: tuple[float, ...] = ()
    ctrl: tuple[float, ...] = ()
    integrators: tuple[str, ...] = ALL

    def load(self, integrator: str) -> tuple[mujoco.MjModel, np.ndarray, np.ndarray]:
        """Model, state [nq + nv] and control [nu]."""
        option = f'<option integrator="{integrator}" {self.option}/>'
        mjcf = f"<mujoco>{option}<worldbody>{self.bodies}</worldbody>{self.rest}</mujoco>"
        mj_model = mujoco.MjModel.from_xml_string(mjcf)
        converge(mj_model)
        parts = (self.qpos or mj_model.qpos0, self.qvel or np.zeros(mj_model.nv))
        return mj_model, np.concatenate(parts), np.array(self.ctrl or np.zeros(mj_model.nu))


def arm(joint: str, more: str = "", pos: str = "0 0 0", geom: str = LINK) -> str:
    """A body with a joint."""
    return f'<body pos="{pos}"><joint {joint}/>{geom}{more}</body>'


def two(first: str = "", second: str = "") -> str:
    """Two hinges, a and b, with attributes."""
    return arm(f'name="a" axis="0 1 0" {first}', arm(f'name="b" axis="0 1 1" {second}', pos=".3 0 .1"))


def ball(attributes: str = "") -> str:
    """A link on a ball joint."""
    return arm(f'name="a" type="ball" {attributes}')


def tendon(*attributes: str) -> str:
    """Tendons a - 2 b."""
    joints = '<joint joint="a" coef="1"/><joint joint="b" coef="-2"/>'
    return f"<tendon>{''.join(f'<fixed {one}>{joints}</fixed>' for one in attributes)}</tendon>"


def actuator(*elements: str) -> str:
    """Actuators."""
    return f"<actuator>{''.join(f'<{one}/>' for one in elements)}</actuator>"


def free(geom: str = BOX, name: str = "x", pos: str = "0 0 0") -> str:
    """A free body."""
    return f'<body name="{name}" pos="{pos}"><freejoint/>{geom}</body>'


def joined(kind: str, solimp: str) -> str:
    """A connect or weld constraint between bodies x and y, satisfied at qpos0."""
    anchor = 'anchor=".2 .1 0"' if kind == "connect" else ""
    return f'<equality><{kind} body1="x" body2="y" {anchor} solimp="{solimp}"/></equality>'


# Impedances with a zero width, powers 1, 2 and 3, without any change, and over a wide width.
SOLIMP = [".9 .95 .001 .5 2", ".9 .95 .001 .5 1", ".9 .95 0 .5 2", ".9 .9 .001 .5 2", ".2 .95 .01 .3 3"]
GRAVITY = ["0 0 -9.81", "0 0 0"]
TWO_FREE = free() + free('<geom type="box" size=".1 .2 .15"/>', "y", ".5 0 0")

MODELS: dict[str, Special] = {
    "tendon's spring at its rest length": Special(two(), tendon('stiffness="50"')),
    "tendon's spring at its lower end": Special(two(), tendon('stiffness="50" springlength="0 .5"')),
    "tendon's spring at its upper end": Special(two(), tendon('stiffness="50" springlength="-.5 0"')),
    # The two springs together are one without slack, so there is a derivative.
    "tendons' springs against each other": Special(
        two(), tendon('stiffness="50" springlength="0 1"', 'stiffness="50" springlength="-1 0"')
    ),
    "tendon's dry friction at rest": Special(two(), tendon('frictionloss=".3" damping=".1" armature=".2"')),
    "control at its limit": Special(
        two(),
        actuator('motor joint="a" gear="5" ctrlrange="-1 1"', 'position joint="b" kp="20" ctrlrange="0 1"'),
        ctrl=(1, 0),
    ),
    "force at its limit": Special(
        two(),
        actuator('motor joint="a" forcerange="-1 1"', 'position joint="b" kp="20" kv="1" forcerange="0 1"'),
        ctrl=(1, 0),
    ),
    # As one force without limits, since no control moves them apart.
    "forces against each other": Special(
        two(),
        actuator(
            'general joint="a" gainprm="0" biastype="affine" biasprm="0 -900 0" forcerange="0 1"',
            'general joint="a" gainprm="0" biastype="affine" biasprm="0 -900 0" forcerange="-1 0"',
        ),
    ),
    "joint's force at its limit": Special(
        two('actuatorfrcrange="-2 2"'), actuator('motor joint="a"', 'position joint="a" kp="20" kv="1"'), ctrl=(2, 0)
    ),
    "gain on a velocity of zero": Special(
        two(), actuator('velocity joint="a" kv="5" ctrlrange="0 1"', 'damper joint="b" kv="3" ctrlrange="0 1"')
    ),
    "affine gain at both limits": Special(
        two(),
        actuator(
            'general joint="a" gaintype="affine" gainprm="1 2 3" biastype="affine" biasprm="0 -1 -2" '
            'ctrlrange="-1 1" forcerange="-1 1"'
        ),
        ctrl=(1,),
    ),
    "servo of a ball joint at zero": Special(ball(), actuator('position joint="a" gear="1 2 3" kp="5" kv=".3"')),
    "servo of a ball joint at pi": Special(ball(), actuator('position joint="a" gear="1 0 0" kp="5"'), qpos=TURNED),
    "tilted body at rest in water": Special(
        free(), option='density="1000"', qpos=(0, 0, 0, 0.8, 0.2, -0.4, 0.4), integrators=("implicitfast",)
    ),
    "two joint constraints satisfied": Special(two(), f"<equality>{FIXED.format('a')}{FIXED.format('b')}</equality>"),
    "moving with the wind": Special(free(), option='density="1000" wind="1 0 -2"', qvel=(1, 0, -2, 0, 0, 0)),
}
for g in GRAVITY:
    option = f'gravity="{g}"'
    water = f'{option} density="1000" viscosity="2"'
    MODELS |= {
        f"tendon's limit reached, gravity {g}": Special(two(), tendon('limited="true" range="0 1"'), option),
        f"joint's limit reached, gravity {g}": Special(two('limited="true" range="0 90"'), "", option),
        f"joint's limits equal, gravity {g}": Special(two('limited="true" range="0 1e-7"'), "", option),
        f"joint at its margin, gravity {g}": Special(
            arm('type="slide" axis="0 0 1" limited="true" range="-.25 1" margin=".25"'), "", option
        ),
        f"ball joint's limit at zero, gravity {g}": Special(ball('limited="true" range="0 40"'), "", option),
        f"ball joint's limit almost zero, gravity {g}": Special(ball('limited="true" range="0 1e-5"'), "", option),
        f"ball joint's limit at pi, gravity {g}": Special(ball('limited="true" range="0 170"'), "", option, TURNED),
        f"ball joint's spring at zero, gravity {g}": Special(ball('stiffness="3" damping=".1"'), "", option),
        f"ball joint's spring at pi, gravity {g}": Special(ball('stiffness="3"'), "", option, TURNED),
        f"negative identity, gravity {g}": Special(
            ball('stiffness="3" limited="true" range="0 10"'), "", option, (-1, 0, 0, 0)
        ),
        f"free body at rest in water, gravity {g}": Special(free(), "", water),
        f"chain at rest in water, gravity {g}": Special(two(), "", water),
        f"dry friction at rest, gravity {g}": Special(
            two('frictionloss=".3" damping=".2"', 'frictionloss="1"'), "", option
        ),
    }
    for height, where in ((0.1, "at distance 0"), (0.11, "at its margin"), (0.0995, "in contact")):
        sphere = PLANE + free('<geom size=".1" margin=".01" condim="6" friction="1 .1 .1"/>')
        MODELS[f"sphere {where}, gravity {g}"] = Special(sphere, "", option, (0, 0, height, 1, 0, 0, 0))
for solimp in SOLIMP:
    follow = '<equality><joint joint1="a" joint2="b" polycoef="{}" solimp="{}"/></equality>'
    line, parabola = (follow.format(c, solimp) for c in ("0 1 0 0 0", "0 0 1 0 0"))
    slide = arm(f'type="slide" axis="0 0 1" limited="true" range="0 1" solimplimit="{solimp}"')
    block = PLANE + free(f'<geom type="box" size=".1 .1 .1" solimp="{solimp}"/>')
    euler = ("Euler",)
    MODELS |= {
        f"joint constraint satisfied, solimp {solimp}": Special(two(), line, integrators=euler),
        f"parabola satisfied, solimp {solimp}": Special(two(), parabola, integrators=euler),
        f"joint constraint at its width, solimp {solimp}": Special(two(), line, qpos=(0.001, 0), integrators=euler),
        f"joint constraint at its midpoint, solimp {solimp}": Special(two(), line, qpos=(0.0005, 0), integrators=euler),
        f"connect satisfied, solimp {solimp}": Special(TWO_FREE, joined("connect", solimp), integrators=euler),
        f"weld satisfied, solimp {solimp}": Special(TWO_FREE, joined("weld", solimp), integrators=euler),
        f"weld turned by pi, solimp {solimp}": Special(
            TWO_FREE, joined("weld", solimp), qpos=(0, 0, 0, 1, 0, 0, 0, 0.5, 0, 0, 0, 0, 0, 1), integrators=euler
        ),
        f"limit at its width, solimp {solimp}": Special(slide, qpos=(-0.001,), integrators=euler),
        f"limit at its midpoint, solimp {solimp}": Special(slide, qpos=(-0.0005,), integrators=euler),
        f"box as deep as its width, solimp {solimp}": Special(block, qpos=(0, 0, 0.099, 1, 0, 0, 0), integrators=euler),
    }
