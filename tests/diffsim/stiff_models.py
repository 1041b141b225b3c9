"""Models that are hard for float32: the mass matrix or the Hessian of many has a condition number of 1e5 to 6e8."""

from pathlib import Path

import mujoco

import diffsim

from .reference import converge


def chain(links: int) -> str:
    """A chain of hinges without armature; the mass matrix of 50 links has condition 1.4e7."""
    link = (
        '<body pos="{} 0 {}"><joint axis="0 1 0" damping=".001"/>'
        '<geom type="capsule" fromto="0 0 0 .05 0 0" size=".01" contype="0" conaffinity="0"/>'
    )
    bodies = link.format(0, 3) + link.format(0.05, 0) * (links - 1) + "</body>" * links
    return f"<mujoco><worldbody>{bodies}</worldbody></mujoco>"


def boxes(friction: float) -> str:
    """Two boxes on a plane; the stiffness of friction rows grows as 1 / friction^2."""
    size = f'friction="{friction} .005 .0001"'
    box = f'<freejoint/><geom type="box" size=".1 .1 .1" mass="1" {size}/>'
    return (
        f'<mujoco><worldbody><geom type="plane" size="3 3 .1" {size}/><body pos="0 0 .0999">{box}</body>'
        f'<body pos="0 0 .2998">{box}</body></worldbody></mujoco>'
    )


def quadruped(cone: str) -> str:
    """A trunk on four legs; impratio 100 and hard contacts make a Hessian of condition 3e7 (with pyramids)."""
    leg = (
        '<body pos="{} {} 0"><joint axis="1 0 0" armature=".01"/><joint axis="0 1 0" armature=".01"/>'
        '<geom type="capsule" fromto="0 0 0 -.1 0 -.25" size=".02" mass=".5" contype="0" conaffinity="0"/>'
        '<body pos="-.1 0 -.25"><joint axis="0 1 0" armature=".01"/>'
        '<geom type="capsule" fromto="0 0 0 .1 0 -.25" size=".01" mass=".1" contype="0" conaffinity="0"/>'
        '<geom pos=".1 0 -.25" size=".02" mass=".02"/></body></body>'
    )
    legs = "".join(leg.format(x, y) for x in (0.2, -0.2) for y in (0.1, -0.1))
    return (
        f'<mujoco><option impratio="100" cone="{cone}"/>'
        '<default><geom friction=".2" solimp=".99 .9999 .001"/></default>'
        '<worldbody><geom type="plane" size="3 3 .1"/><body pos="0 0 .519"><freejoint/>'
        f'<geom type="box" size=".25 .1 .05" mass="15"/>{legs}</body></worldbody></mujoco>'
    )


STIFF = {
    **{f"chain of {links}": chain(links) for links in (20, 50)},
    **{f"boxes, friction {friction}": boxes(friction) for friction in (1.0, 0.1, 0.01, 0.001, 0.0001)},
    **{f"quadruped, {cone}": quadruped(cone) for cone in ("pyramidal", "elliptic")},
}


for path in sorted((Path(__file__).parent / "reports").glob("*.xml")):  # public reports of faults of simulators
    try:
        diffsim.Model.from_mjcf(path)
    except diffsim.UnsupportedModelError:
        continue
    STIFF[path.stem] = path.read_text()


def stiff_model(name: str) -> mujoco.MjModel:
    """One of STIFF, which C MuJoCo solves to convergence."""
    mj_model = mujoco.MjModel.from_xml_string(STIFF[name])
    converge(mj_model)
    return mj_model
