"""Random MJCF models for the fuzz test. Hypothesis draws the structure, which it can shrink, and a seed for numbers."""

from dataclasses import dataclass, field

import mujoco
import numpy as np
from hypothesis import strategies as st

from diffsim.collision.geometry import CANDIDATES

KINDS = ["plane", "sphere", "capsule", "ellipsoid", "cylinder", "box"]
MOVING_KINDS = ["sphere", "capsule", "ellipsoid", "cylinder", "box"]
JOINTS = [["free"], ["hinge"], ["slide"], ["ball"], ["hinge", "hinge"], ["slide", "hinge"], ["slide", "slide"]]
JOINTS += [["ball", "slide"], ["hinge", "slide", "hinge"], []]


def _partners() -> dict[str, int]:
    """For each kind of geom, bits of the kinds with which it has a collider."""
    codes = {name: int(getattr(mujoco.mjtGeom, f"mjGEOM_{name.upper()}")) for name in KINDS}
    return {
        one: sum(
            1 << bit
            for bit, other in enumerate(KINDS)
            if (codes[one], codes[other]) in CANDIDATES or (codes[other], codes[one]) in CANDIDATES
        )
        for one in KINDS
    }


PARTNERS = _partners()


@dataclass
class Builder:
    """Collects the elements of a model."""

    draw: st.DrawFn
    rng: np.random.Generator
    filtered: bool  # whether geoms without a collider pass through each other
    joints: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)
    geoms: list[str] = field(default_factory=list)

    def one_of(self, *values: str) -> str:
        """One of the values, drawn by hypothesis; the first is the simplest."""
        return self.draw(st.sampled_from(values))

    def maybe(self, text: str, odds: int = 2) -> str:
        """The text in one of `odds` cases, else nothing."""
        return text if self.draw(st.integers(0, odds - 1)) == odds - 1 else ""

    def number(self, low: float, high: float) -> str:
        """A number, uniform in [low, high]."""
        return f"{self.rng.uniform(low, high):.6g}"

    def power(self, low: float, high: float) -> str:
        """Ten to the power of a number that is uniform in [low, high]."""
        return f"{10 ** self.rng.uniform(low, high):.6g}"

    def vector(self, size: float, count: int = 3) -> str:
        """Normally distributed entries."""
        return " ".join(f"{x:.6g}" for x in size * self.rng.standard_normal(count))

    def solver(self, prefix: str = "") -> str:
        """Solver parameters of a constraint, both forms of solref."""
        standard = f"{self.number(0.005, 0.05)} {self.number(0.5, 1.5)}"
        direct = f"-{self.number(100, 2000)} -{self.number(5, 50)}"
        low = self.rng.uniform(0.3, 0.95)
        middle, power = self.number(0.2, 0.8), self.one_of("2", "1", "3")
        solimp = f"{low:.6g} {self.number(low, 0.97)} {self.number(0.001, 0.05)} {middle} {power}"
        return self.maybe(f' solref{prefix}="{self.one_of(standard, direct)}"') + self.maybe(
            f' solimp{prefix}="{solimp}"'
        )


def _geom(b: Builder, kind: str, world: bool) -> str:
    name = f"g{len(b.geoms)}"
    b.geoms.append(name)
    size = {
        "plane": "0 0 1",
        "sphere": b.number(0.04, 0.15),
        "capsule": f"{b.number(0.03, 0.1)} {b.number(0.05, 0.2)}",
        "ellipsoid": f"{b.number(0.05, 0.2)} {b.number(0.05, 0.2)} {b.number(0.05, 0.2)}",
        "cylinder": f"{b.number(0.04, 0.15)} {b.number(0.04, 0.15)}",
        "box": f"{b.number(0.04, 0.15)} {b.number(0.04, 0.15)} {b.number(0.04, 0.15)}",
    }[kind]
    mask = f' contype="{1 << KINDS.index(kind)}" conaffinity="{PARTNERS[kind]}"' if b.filtered else ""
    place = f'pos="{b.vector(0.05)}" quat="{b.vector(1, 4)}"'
    if kind == "plane":
        place = f'pos="0 0 {b.number(-0.2, 0.1)}"' + b.maybe(f' zaxis="{b.vector(0.2, 2)} 1"')
    surface = f' friction="{b.number(0.1, 1.5)} {b.power(-3, -1)} {b.power(-4, -2)}"' + b.solver()
    surface += f' condim="{b.one_of("3", "1", "4", "6")}"'
    surface += b.maybe(f' margin="{b.number(0, 0.03)}"', 3) + b.maybe(f' gap="{b.number(0, 0.02)}"', 4)
    surface += b.maybe(f' priority="{b.one_of("1", "2")}"', 4) + b.maybe(f' solmix="{b.one_of("0", "0.3", "4")}"', 4)
    mass = "" if world else f' mass="{b.power(-2, 2)}"' + b.maybe(' fluidshape="ellipsoid"', 80)
    return f'<geom name="{name}" type="{kind}" size="{size}" {place}{mask}{surface}{mass}/>'


def _joint(b: Builder, kind: str) -> str:
    name = f"j{len(b.joints)}"
    b.joints.append((name, kind))
    if kind == "free":
        return f'<joint name="{name}" type="free"' + b.maybe(f' armature="{b.power(-3, 0)}"', 4) + "/>"
    text = f'<joint name="{name}" type="{kind}" pos="{b.vector(0.05)}" axis="{b.vector(1)}"'
    text += b.maybe(f' damping="{b.power(-2, 1)}"') + b.maybe(f' armature="{b.power(-3, 0)}"')
    stop = f"{b.number(0.2, 2)}" if kind == "ball" else f"{b.number(0.01, 0.8)}"
    low = "0" if kind == "ball" else f"-{b.number(0.01, 0.8)}"
    text += b.maybe(
        f' limited="true" range="{low} {stop}"' + b.maybe(f' margin="{b.number(0, 0.05)}"') + b.solver("limit")
    )
    text += b.maybe(f' frictionloss="{b.power(-2, 0.5)}"' + b.solver("friction"), 3)
    spring = f' stiffness="{b.power(-1, 2)}"' + (f' springref="{b.number(-0.5, 0.5)}"' if kind != "ball" else "")
    text += b.maybe(spring, 3)
    if kind != "ball":
        text += b.maybe(f' ref="{b.number(-0.3, 0.3)}"', 5)
        text += b.maybe(f' actuatorfrclimited="true" actuatorfrcrange="-{b.power(-1, 1)} {b.power(-1, 1)}"', 4)
    return text + "/>"


def _body(b: Builder, depth: int) -> str:
    name = f"b{len(b.bodies)}"
    b.bodies.append(name)
    kinds = b.draw(st.sampled_from(JOINTS if depth == 0 else JOINTS[1:]))
    if len(b.joints) == 0 and not kinds:
        kinds = ["hinge"]  # something must move
    place = f'pos="{b.vector(0.2, 2)} {b.number(0, 0.4)}"' + b.maybe(f' quat="{b.vector(1, 4)}"')
    parts = [f'<body name="{name}" {place}' + b.maybe(f' gravcomp="{b.number(0, 1)}"', 100) + ">"]
    parts += [_joint(b, kind) for kind in kinds]
    for _ in range(b.draw(st.integers(1, 2))):
        parts.append(_geom(b, b.one_of(*MOVING_KINDS), world=False))
    if depth < 2:
        parts += [_body(b, depth + 1) for _ in range(b.draw(st.integers(0, 2 - depth)))]
    return "".join([*parts, "</body>"])


def _actuator(b: Builder, tendon: bool) -> str:
    name, kind = b.draw(st.sampled_from(b.joints))
    gear = f' gear="{b.vector(1, 6)}"' if kind in ("free", "ball") else f' gear="{b.number(0.5, 3)}"'
    target = f'joint="{name}"'
    if tendon and b.maybe("tendon", 3):
        target, gear = 'tendon="t0"', f' gear="{b.number(0.5, 3)}"'
    elif b.maybe("parent", 5 if kind in ("hinge", "slide") else 20):
        target = f'jointinparent="{name}"'
    servos = kind != "free" or target.startswith("tendon")
    tags = ["motor", "velocity", "general", "position", "damper", "intvelocity", "muscle"][: None if servos else 2]
    tag = b.one_of(*[tag for tag in tags[:5] for _ in range(6)], *tags[5:])
    limits = f' ctrllimited="true" ctrlrange="{b.number(-2, -0.2)} {b.number(0.2, 2)}"'
    extra = {
        "velocity": f' kv="{b.power(-1, 1)}"',
        "position": f' kp="{b.power(-1, 2)}"' + b.maybe(f' kv="{b.power(-1, 1)}"'),
        "damper": f' kv="{b.power(-1, 1)}" ctrlrange="0 {b.number(0.2, 2)}"',
        "intvelocity": ' kp="1" actrange="-1 1"',
        "general": f' gaintype="affine" gainprm="{b.vector(2)}" biastype="affine" biasprm="{b.vector(1, 2)} -2"',
        "muscle": ' lengthrange="-1 1"',
    }.get(tag, "")
    extra += "" if tag == "damper" else b.maybe(limits)
    extra += b.maybe(f' forcelimited="true" forcerange="-{b.power(-1, 2)} {b.power(-1, 2)}"', 3)
    return f"<{tag} {target}{gear}{extra}/>"


def _equality(b: Builder) -> str:
    sliding = [name for name, kind in b.joints if kind in ("hinge", "slide")]
    one, other = b.bodies[0], b.one_of(*b.bodies)
    second = "" if one == other else f' body2="{other}"'
    choices = [
        f'<connect body1="{one}"{second} anchor="{b.vector(0.1)}"{b.solver()}/>',
        f'<weld body1="{one}"{second}{b.solver()}/>',
    ]
    if len(sliding) > 1:
        choices.append(
            f'<joint joint1="{sliding[0]}" joint2="{sliding[-1]}" polycoef="{b.vector(0.3, 5)}"{b.solver()}/>'
        )
    return b.one_of(*choices)


def _tendon(b: Builder) -> str:
    sliding = [name for name, kind in b.joints if kind in ("hinge", "slide")]
    if not sliding or not b.maybe("tendon", 4):
        return ""
    joints = "".join(f'<joint joint="{name}" coef="{b.number(-2, 2)}"/>' for name in sliding[:3])
    forces = b.maybe(f' stiffness="{b.power(-1, 2)}"', 6) + b.maybe(f' damping="{b.power(-1, 1)}"', 6)
    forces += b.maybe(f' limited="true" range="-{b.number(0.01, 0.3)} {b.number(0.01, 0.3)}"{b.solver("limit")}', 6)
    forces += b.maybe(f' frictionloss="{b.power(-2, 0)}"{b.solver("friction")}', 12)
    return f'<fixed name="t0"{forces}>{joints}</fixed>'


@st.composite
def models(draw: st.DrawFn) -> str:
    """MJCF text of a random model that moves."""
    b = Builder(draw, np.random.default_rng(draw(st.integers(0, 2**32 - 1))), draw(st.integers(0, 9)) < 9)
    integrator = b.one_of(*["Euler", "implicitfast", "RK4"] * 10, "implicit")
    gravity = b.one_of(f'gravity="{b.vector(3, 2)} -9.81"', 'gravity="0 0 -9.81"', 'gravity="0 0 0"')
    medium = (
        f' density="{b.power(0, 3)}"' + b.maybe(f' viscosity="{b.power(-3, 0)}"') + b.maybe(f' wind="{b.vector(2)}"')
    )
    option = f'integrator="{integrator}" {gravity} timestep="{b.power(-3, -2)}"' + b.maybe(medium, 3)
    option += b.maybe(f' impratio="{b.number(1, 10)}"', 4) + b.maybe(' cone="elliptic"', 3)
    flags = "".join(
        b.maybe(f' {name}="disable"', 12) for name in ("refsafe", "filterparent", "damper", "spring", "limit")
    )
    fixed = "".join(_geom(b, kind, world=True) for kind in draw(st.lists(st.sampled_from(KINDS), max_size=2)))
    trees = "".join(_body(b, 0) for _ in range(draw(st.integers(1, 3))))
    tendon = _tendon(b)
    actuators = "".join(_actuator(b, bool(tendon)) for _ in range(draw(st.integers(0, 3))))
    equality = b.maybe(_equality(b), 6)
    return (
        f'<mujoco><compiler angle="radian"/><option {option}><flag{flags}/></option>'
        f"<worldbody>{fixed}{trees}</worldbody><tendon>{tendon}</tendon><equality>{equality}</equality>"
        f"<actuator>{actuators}</actuator></mujoco>"
    )
