"""The page of features says of every feature whether the simulator accepts it."""

import re
from pathlib import Path

import pytest

import diffsim

PAGE = Path(__file__).parents[1] / "docs" / "features.md"


def model(option="", world="", actuator="", rest="", joint='type="hinge" axis="0 1 0"') -> str:
    """MJCF of a pendulum and of whatever is added to it."""
    return f"""
        <mujoco>
          <option {option}/>
          <worldbody>
            <site name="here" pos="0 0 1"/>
            <geom name="bob" type="sphere" size="0.1" pos="0 0 5" contype="0" conaffinity="0"/>
            <body name="arm" pos="0 0 1">
              <joint name="swing" {joint}/>
              <geom type="capsule" size="0.05" fromto="0 0 0 0.5 0 0" contype="0" conaffinity="0"/>
              <site name="tip" pos="0.5 0 0"/>
              <body name="hand" pos="0.5 0 0">
                <joint name="wrist" type="slide" axis="0 0 1"/>
                <geom type="box" size="0.1 0.1 0.1" contype="0" conaffinity="0"/>
              </body>
            </body>
            {world}
          </worldbody>
          <actuator>{actuator}</actuator>
          {rest}
        </mujoco>"""


def touching(*geoms: str, option: str = "", rest: str = "") -> str:
    """MJCF of free bodies, each with one geom, over a floor."""
    bodies = "".join(f'<body pos="{i} 0 1"><freejoint/><geom {geom}/></body>' for i, geom in enumerate(geoms))
    return f"""
        <mujoco>
          <option {option}/>
          <asset><mesh name="rock" vertex="0 0 0 1 0 0 0 1 0 0 0 1"/></asset>
          <worldbody><geom type="plane" size="1 1 1"/>{bodies}</worldbody>{rest}
        </mujoco>"""


SPATIAL = """<tendon><spatial name="cord"><site site="here"/><geom geom="bob"/><site site="tip"/></spatial></tendon>"""
FIXED = '<tendon><fixed name="cord"><joint joint="swing" coef="1"/><joint joint="wrist" coef="2"/></fixed></tendon>'
JOINTS = '<body pos="3 0 1"><freejoint/><geom size="0.1"/><body><joint type="ball"/><geom size="0.1"/></body></body>'

MODELS = {
    "MuJoCo's own dynamics, with gradients": model(),
    "integrator Euler": model('integrator="Euler"'),
    "integrator RK4": model('integrator="RK4"'),
    "integrator implicitfast": model('integrator="implicitfast"'),
    "integrator implicit": model('integrator="implicit"'),
    "free, ball, slide and hinge joints": model(world=JOINTS),
    "joint limits": model(joint='type="hinge" axis="0 1 0" range="-1 1"'),
    "joint friction loss": model(joint='type="hinge" axis="0 1 0" frictionloss="1"'),
    "polynomial stiffness and damping of joints and tendons": model(
        joint='axis="0 1 0" stiffness="1 2" damping="1 2 3"',
        rest=FIXED.replace('name="cord"', 'name="cord" stiffness="1 2" damping="1 2 3"'),
    ),
    "pyramidal friction cones": touching('size="0.1"'),
    "elliptic friction cones": touching('size="0.1"', option='cone="elliptic"'),
    "condim 1, 3, 4, 6": touching(*(f'size="0.1" condim="{n}"' for n in (1, 3, 4, 6))),
    "noslip solver": touching('size="0.1"', option='noslip_iterations="3"'),
    "contacts of planes, spheres, capsules, boxes": touching(
        'size="0.1"', 'type="capsule" size="0.1 0.1"', 'type="box" size="0.1 0.1 0.1"'
    ),
    "contacts of cylinders with planes, spheres, capsules": touching(
        'size="0.1"', 'type="capsule" size="0.1 0.1"', 'type="cylinder" size="0.1 0.1"'
    ),
    "contacts of cylinders or ellipsoids with each other or boxes": touching(
        'type="cylinder" size="0.1 0.1"', 'type="box" size="0.1 0.1 0.1"'
    ),
    "contacts of meshes": touching('type="mesh" mesh="rock"'),
    "height fields": """
        <mujoco>
          <asset><hfield name="hill" nrow="2" ncol="2" size="1 1 1 1" elevation="0 1 1 0"/></asset>
          <worldbody>
            <geom type="hfield" hfield="hill"/><body pos="0 0 2"><freejoint/><geom size="0.1"/></body>
          </worldbody>
        </mujoco>""",
    "surface velocity of geoms (belts, turntables)": touching('size="0.1" surfacevel="1 0 0 0 0 0"'),
    "adhesion of geoms and pairs": touching('size="0.1" adhesion="1"'),
    "connect, weld and joint equality": model(
        rest='<equality><connect body1="hand" anchor="0 0 0"/><weld body1="arm"/><joint joint1="wrist"/></equality>'
    ),
    "tendon equality": model(rest=FIXED + '<equality><tendon tendon1="cord"/></equality>'),
    "equality constraints switched at run time": model(
        rest='<equality><connect body1="hand" anchor="0 0 0" active="false"/></equality>'
    ),
    "mocap bodies": model(world='<body name="target" mocap="true"><geom size="0.1"/></body>'),
    "fixed tendons": model(rest=FIXED),
    "spatial tendons, wrapping and pulleys": model(
        rest=SPATIAL.replace("</spatial>", '<pulley divisor="2"/><site site="here"/><site site="tip"/></spatial>')
    ),
    "joint and tendon transmissions": model(actuator='<motor joint="swing"/><motor tendon="cord"/>', rest=SPATIAL),
    "site transmission": model(actuator='<motor site="tip" gear="0 0 1 0 0 0"/>'),
    "slider-crank transmission": model(actuator='<motor cranksite="tip" slidersite="here" cranklength="2"/>'),
    "body transmission (adhesion)": model(actuator='<adhesion body="hand" ctrlrange="0 1"/>'),
    "activations: integrator, filter, filterexact": model(
        actuator="".join(
            f'<general joint="swing" dyntype="{kind}" dynprm="0.1"/>'
            for kind in ("integrator", "filter", "filterexact")
        )
    ),
    "muscles": model(actuator='<muscle tendon="cord" lengthrange="0 2"/>', rest=SPATIAL),
    "DC motors": model(actuator='<dcmotor joint="swing" motorconst="0.1" resistance="1"/>'),
    "PID controllers": model(actuator='<pid joint="swing" kp="1" ki="2" slewmax="1" input="pos vel ff"/>'),
    "orientation servos": model(actuator='<orientation site="tip" refsite="here" kp="1"/>'),
    "actuator delay": model(actuator='<motor joint="swing" delay="0.01" nsample="10"/>'),
    "gravity compensation": model(world='<body gravcomp="1" pos="3 0 1"><freejoint/><geom size="0.1"/></body>'),
    "fluid forces on inertia boxes": model('density="1.2" viscosity="1e-5"'),
    "fluid forces on ellipsoids": model(
        'density="1.2"', world='<body pos="3 0 1"><freejoint/><geom size="0.1" fluidshape="ellipsoid"/></body>'
    ),
    "flexes": """
        <mujoco>
          <worldbody><flexcomp name="cloth" type="grid" count="3 3 1" spacing="0.1 0.1 0.1" dim="2"/></worldbody>
        </mujoco>""",
    "plugins": """
        <mujoco>
          <extension>
            <plugin plugin="mujoco.pid"><instance name="pid"><config key="kp" value="1"/></instance></plugin>
          </extension>
          <worldbody><body><joint name="j"/><geom size="0.1"/></body></worldbody>
          <actuator><plugin joint="j" plugin="mujoco.pid" instance="pid"/></actuator>
        </mujoco>""",
}


def rows() -> dict[str, str]:
    """The page's column of diffsim by feature."""
    cells = re.findall(r"^\| (.+?) \| (yes|no) \|", PAGE.read_text(), re.M)
    return dict(cells)


def test_the_page_has_every_feature_of_this_test():
    assert list(rows()) == list(MODELS)


@pytest.mark.parametrize("feature", MODELS)
def test_the_page_says_what_is_refused(feature):
    try:
        diffsim.Model.from_mjcf(MODELS[feature])
        accepted = "yes"
    except diffsim.UnsupportedModelError:
        accepted = "no"
    assert rows()[feature] == accepted
