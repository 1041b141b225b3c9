"""Unsupported models are refused when they are built, and errors name bad arguments."""

import mujoco
import numpy as np
import pytest
import torch

import diffsim

from .engine import simulator, tensors
from .reference import Stepper, load, moving_states, relative_error

SEVERAL_UNSUPPORTED = """
<mujoco>
  <asset><mesh name="stone" vertex="0 0 0  .2 0 0  0 .2 0  0 0 .2"/></asset>
  <worldbody>
    <geom name="ground" type="sdf" mesh="stone"/>
    <site name="anchor" pos="0 0 2"/>
    <body name="rock" pos="0 0 1">
      <freejoint/>
      <geom name="rock_hull" size="0.2"/>
    </body>
    <body name="arm" pos="2 0 1">
      <joint name="elbow"/>
      <geom type="sphere" size="0.1" contype="0" conaffinity="0"/>
      <site name="wrist" pos="0 0 0.3"/>
    </body>
  </worldbody>
  <option><flag diagexact="enable"/></option>
  <actuator><general name="biceps" joint="elbow" dyntype="user"/></actuator>
</mujoco>
"""


def test_all_unsupported_features_are_listed():
    with pytest.raises(diffsim.UnsupportedModelError) as error:
        diffsim.Model.from_mjcf(SEVERAL_UNSUPPORTED)
    for words in (("rock_hull",), ("flag", "diagexact"), ("biceps", "dyntype=user")):
        for word in words:
            assert word in str(error.value)
    assert isinstance(error.value, ValueError)


MANY_ON_ONE_ELEMENT = """
<mujoco>
  <option><flag contact="disable"/></option>
  <worldbody>
    <site name="anchor" pos="0 0 1"/>
    <body name="arm"><joint name="elbow" axis="0 1 0"/><geom size="0.1"/><site name="wrist" pos="0.3 0 0"/></body>
  </worldbody>
  <tendon>
    <spatial name="cable" stiffness="1 2 3" damping="1 0.2 0.3" frictionloss="0.1" springyield="0.1">
      <site site="anchor"/><site site="wrist"/>
    </spatial>
  </tendon>
  <actuator>
    <general name="biceps" site="wrist" gear="1 0 0 0 0 0" dyntype="muscle" gaintype="muscle" biastype="muscle"
      gainprm="0.75 1.05 -1 200 0.5 1.6 1.5 1.3 1.2" biasprm="0.75 1.05 -1 200 0.5 1.6 1.5 1.3 1.2"
      lengthrange="-1 1" delay="0.01" nsample="4"/>
    <general name="pump" joint="elbow" dyntype="integrator" gaintype="muscle" biastype="none" lengthrange="-1 1"
      gainprm="0.75 1.05 -1 200 0.5 1.6 1.5 1.3 1.2" armature="0.1"/>
  </actuator>
</mujoco>
"""


def test_all_features_of_one_element_are_listed():
    with pytest.raises(diffsim.UnsupportedModelError) as error:
        diffsim.Model.from_mjcf(MANY_ON_ONE_ELEMENT)
    assert error.value.features == [
        "tendon spring yield, whose rest length is no part of the state [qpos, qvel, act], tendon 'cable'",
        "actuator delay, whose buffer is no part of the state, actuator 'biceps'",
    ]


def test_each_feature_is_listed_once():
    text = """
        <mujoco>
          <worldbody>
            <geom name="belt" type="cylinder" size="1 1"/>
            <body pos="0 0 1"><freejoint/><geom type="ellipsoid" size="0.1 .2 .1"/></body>
            <body pos="1 0 1"><freejoint/><geom type="ellipsoid" size="0.1 .2 .1"/></body>
          </worldbody>
          <option><flag nativeccd="disable"/></option>
        </mujoco>"""
    with pytest.raises(diffsim.UnsupportedModelError) as error:
        diffsim.Model.from_mjcf(text)
    assert error.value.features == ["option flag nativeccd=disable, contact between convex geoms"]


def test_flexes_are_refused_also_without_contacts():
    text = """
        <mujoco>
          <option><flag contact="disable"/></option>
          <worldbody>
            <flexcomp name="cloth" type="grid" count="3 3 1" spacing=".1 .1 .1" dim="2" radius=".01" mass="1">
              <elasticity young="100" poisson="0.1" thickness="0.01"/>
            </flexcomp>
          </worldbody>
        </mujoco>"""
    with pytest.raises(diffsim.UnsupportedModelError, match="flex 'cloth'"):
        diffsim.Model.from_mjcf(text)


BODY = """
<mujoco>
  {head}
  <worldbody>
    <body name="link" {body}>
      <joint name="pin" axis="0 1 0" pos="0 0 0.2" damping="0.1" {joint}/>
      <joint name="rod" type="slide" axis="1 0 0"/>
      <geom name="hull" type="box" size="0.1 0.2 0.3" contype="0" conaffinity="0" {geom}/>
      <site name="grip" pos="0.1 0 0"/>
    </body>
  </worldbody>
  {tail}
</mujoco>
"""


def body(head: str = "", body: str = "", joint: str = "", geom: str = "", tail: str = "") -> str:
    return BODY.format(head=head, body=body, joint=joint, geom=geom, tail=tail)


def actuator(text: str) -> str:
    return body(tail=f"<actuator>{text}</actuator>")


def tendon(options: str) -> str:
    return body(tail=f'<tendon><fixed name="cord" {options}><joint joint="pin" coef="2"/></fixed></tendon>')


FEATURES = {
    "pin frictionloss": body(joint='frictionloss="0.5"'),
    "link gravcomp": body(body='gravcomp="0.7"'),
    "hull ellipsoid": body(head='<option density="100"/>', geom='fluidshape="ellipsoid"'),
    "cord stiffness": tendon('stiffness="3"'),
    "cord damping": tendon('damping="3"'),
    "cord frictionloss": tendon('frictionloss="0.3"'),
    "cord range": tendon('range="-0.1 0.1" limited="true"'),
    "cord armature": tendon('armature="0.3"'),
    "cord stiffness polynomial": tendon('stiffness="3 2 1"'),
    "cord damping polynomial": tendon('damping="3 2 1"'),
    "cord actuatorfrcrange": tendon('actuatorfrcrange="-0.2 0.2"').replace(
        "</tendon>", '</tendon><actuator><motor name="push" tendon="cord"/></actuator>'
    ),
    "cord equality": tendon("").replace(
        "</tendon>", '</tendon><equality><tendon name="cord" tendon1="cord"/></equality>'
    ),
    "joint equality": body(tail='<equality><joint joint1="pin" joint2="rod" polycoef="0.1 1 2 0 0"/></equality>'),
    "connect": body(tail='<equality><connect body1="link" anchor="0.1 0 0.3"/></equality>'),
    "weld": body(tail='<equality><weld body1="link" torquescale="0.3"/></equality>'),
    "inactive": body(tail='<equality><weld body1="link" active="false"/></equality>'),
    "flag equality": body(
        head='<option><flag equality="disable"/></option>', tail='<equality><weld body1="link"/></equality>'
    ),
    "push integrator": actuator('<general name="push" joint="pin" dyntype="integrator"/>'),
    "push filter": actuator('<general name="push" joint="pin" dyntype="filter" dynprm="0.1"/>'),
    "push filterexact": actuator('<general name="push" joint="pin" dyntype="filterexact" dynprm="0.1"/>'),
    "push cylinder": actuator('<cylinder name="push" joint="pin"/>'),
    "push site": actuator('<motor name="push" site="grip" gear="1 2 3 0 0 0"/>'),
    "push body": actuator('<adhesion name="push" body="link" ctrlrange="0 1"/>'),
    "push damper": actuator('<damper name="push" joint="pin" kv="2" ctrlrange="0 1"/>'),
    "push intvelocity": actuator('<intvelocity name="push" joint="pin" kp="2" actrange="-1 1"/>'),
    "push jointinparent": actuator('<motor name="push" jointinparent="pin"/>'),
    "pin actuatorgravcomp": body(joint='actuatorgravcomp="true"', body='gravcomp="0.5"'),
    "actuatorfrcrange": body(
        joint='actuatorfrcrange="-0.2 0.2"', tail='<actuator><motor name="push" joint="pin"/></actuator>'
    ),
    "implicit": body(head='<option integrator="implicit"/>'),
    "flag gravity": body(head='<option><flag gravity="disable"/></option>'),
    "flag limit": body(head='<option><flag limit="disable"/></option>', joint='range="-1 1" limited="true"'),
    "flag constraint": body(head='<option><flag constraint="disable"/></option>', joint='range="-1 1" limited="true"'),
    "flag spring": body(head='<option><flag spring="disable"/></option>', joint='stiffness="9"'),
    "flag spring, tendon": tendon('stiffness="9"').replace(
        "<worldbody>", '<option><flag spring="disable"/></option><worldbody>'
    ),
    "flag damper, tendon": tendon('damping="9"').replace(
        "<worldbody>", '<option><flag damper="disable"/></option><worldbody>'
    ),
    "flag limit, tendon": tendon('range="-0.1 0.1" limited="true" frictionloss="0.3"').replace(
        "<worldbody>", '<option><flag limit="disable" frictionloss="disable"/></option><worldbody>'
    ),
    "flag damper": body(head='<option><flag damper="disable"/></option>'),
    "flag actuation": body(
        head='<option><flag actuation="disable"/></option>',
        tail='<actuator><motor name="push" joint="pin"/></actuator>',
    ),
    "flag clampctrl": body(
        head='<option><flag clampctrl="disable"/></option>',
        tail='<actuator><motor name="push" joint="pin" ctrlrange="-0.1 0.1"/></actuator>',
    ),
    "flag eulerdamp": body(head='<option><flag eulerdamp="disable"/></option>'),
    "flag refsafe": body(
        head='<option><flag refsafe="disable"/></option>',
        joint='range="-1 1" limited="true" solreflimit="0.001 1"',
    ),
    "actuatorgroupdisable": body(
        head='<option actuatorgroupdisable="1"/>',
        tail='<actuator><motor name="push" joint="pin" group="1"/></actuator>',
    ),
    "override": body(
        head='<option o_solref="0.05 1" o_margin="0.1"><flag override="enable"/></option>',
        joint='range="-1 1" limited="true"',
    ),
    "elliptic cone": body(head='<option cone="elliptic"/>', joint='range="-1 1" limited="true"'),
    "polynomial stiffness": body(joint='stiffness="9 3 2"'),
    "polynomial damping": body(joint='damping="0.1 0.3 0.2"').replace('damping="0.1" ', "", 1),
}


@pytest.mark.parametrize("feature", FEATURES)
def test_each_feature_is_supported_or_refused(feature):
    # The engine never omits a force silently. The error of a refused model names the element.
    try:
        mj_model = mujoco.MjModel.from_xml_string(FEATURES[feature])
    except ValueError as error:
        pytest.skip(f"not a feature of this MuJoCo: {error}")
    try:
        sim = simulator(mj_model, 20)
    except diffsim.UnsupportedModelError as error:
        named = [name for name in ("pin", "link", "hull", "cord", "push") if feature.startswith(name)]
        assert all(name in str(error) for name in named)
        return
    state, ctrl = moving_states(mj_model, 20)
    # Far outside the range, so that disabled limits and clamps have an effect.
    state[:, :2] *= 2
    expected = Stepper(mj_model).step_batch(state, ctrl, 3)
    assert relative_error(sim.step(*tensors(state, ctrl), num_steps=3).numpy(), expected) <= 1e-9


def pair(first: str, second: str) -> str:
    """A ball above a floor."""
    return f"""
        <mujoco>
          <worldbody>
            <geom name="floor" type="plane" size="1 1 1" {first}/>
            <body pos="0 0 1"><freejoint/><geom name="ball" size="0.1" {second}/></body>
          </worldbody>
        </mujoco>"""


def test_pairs_without_a_collider_are_refused():
    text = """
        <mujoco>
          <asset><mesh name="stone" vertex="0 0 0  .2 0 0  0 .2 0  0 0 .2"/></asset>
          <worldbody>
            <geom name="ground" type="sdf" mesh="stone"/>
            <body pos="0 0 1"><freejoint/><geom name="ball" size="0.1"/></body>
          </worldbody>
        </mujoco>"""
    with pytest.raises(diffsim.UnsupportedModelError, match="ball") as error:
        diffsim.Model.from_mjcf(text)
    assert "ground" in str(error.value)


def test_planes_and_height_fields_do_not_collide():
    text = """
        <mujoco>
          <asset><hfield name="hills" nrow="3" ncol="3" size="1 1 0.1 0.1"/></asset>
          <worldbody>
            <geom type="plane" size="1 1 1"/>
            <body>
              <freejoint/><inertial pos="0 0 0" mass="1" diaginertia="1 1 1"/><geom type="hfield" hfield="hills"/>
            </body>
          </worldbody>
        </mujoco>"""
    assert diffsim.Model.from_mjcf(text).field("npair") == 0


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ('contype="0" conaffinity="0"', ""),
        ('contype="0"', 'contype="0"'),
        ('contype="2" conaffinity="1"', 'contype="4" conaffinity="8"'),
    ],
)
def test_geoms_that_cannot_touch_are_accepted(first, second):
    diffsim.Model.from_mjcf(pair(first, second))


@pytest.mark.parametrize(
    ("option", "feature"),
    [
        ('<option integrator="discrete"/>', "option integrator=discrete"),
        (
            '<option><flag sleep="enable"/></option>',
            "option flag sleep=enable, whose timers are no part of the state [qpos, qvel, act]",
        ),
        (
            '<option><flag speculative="enable"/></option>',
            "option flag speculative=enable, which sweeps geoms over a step to find contacts",
        ),
    ],
)
def test_options_are_refused_with_a_reason(option, feature):
    with pytest.raises(diffsim.UnsupportedModelError) as error:
        diffsim.Model.from_mjcf(body(head=option))
    assert error.value.features == [feature]


@pytest.mark.parametrize("flag", ["multiccd", "nativeccd"])
def test_flags_that_change_a_capsule_on_a_cylinder_are_refused(flag):
    text = """
        <mujoco>
          <option><flag {flag}="disable"/></option>
          <worldbody>
            <geom name="drum" type="cylinder" size="0.1 0.1"/>
            <body pos="0 0 1"><freejoint/><geom name="stick" type="capsule" size="0.1 0.2"/></body>
          </worldbody>
        </mujoco>"""
    with pytest.raises(diffsim.UnsupportedModelError, match="'stick' and cylinder geom 'drum'"):
        diffsim.Model.from_mjcf(text.format(flag=flag))
    diffsim.Model.from_mjcf(text.format(flag="gravity"))


def test_explicit_pairs_ignore_masks():
    text = pair('contype="0" conaffinity="0"', 'contype="0" conaffinity="0"')
    text = text.replace("</mujoco>", '<contact><pair name="bump" geom1="floor" geom2="ball"/></contact></mujoco>')
    assert diffsim.Model.from_mjcf(text).max_contacts == 1


def test_model_input():
    with pytest.raises((TypeError, ValueError), match="mj_model"):
        diffsim.Model("model.xml")  # pyright: ignore[reportArgumentType]
    with pytest.raises((ValueError, OSError), match="no_such_file.xml"):
        diffsim.Model.from_mjcf("no_such_file.xml")


# ------------------------------------------------------------------------------------- arguments of the simulator


@pytest.fixture(scope="module")
def model():
    return diffsim.Model(load("swimmer"))


@pytest.mark.parametrize("num_worlds", [-3, 0])
def test_num_worlds_must_be_positive(model, num_worlds):
    with pytest.raises(ValueError, match=f"num_worlds must be >= 1, got {num_worlds}"):
        diffsim.Simulator(model, num_worlds)


@pytest.mark.parametrize("num_worlds", [1.5, "4", None])
def test_num_worlds_must_be_an_int(model, num_worlds):
    with pytest.raises((TypeError, ValueError), match="num_worlds"):
        diffsim.Simulator(model, num_worlds)


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_device_must_exist(model, device):
    with pytest.raises((TypeError, ValueError), match=device):
        diffsim.Simulator(model, 2, device=device)


METHODS = ["step", "advance", "linearize", "forward"]


@pytest.fixture(scope="module")
def world(model):
    """A simulator of two worlds, and valid state and ctrl."""
    state, ctrl = tensors(*moving_states(model.mj_model, 2))
    return diffsim.Simulator(model, 2), state, ctrl


def rejects(world, method, match, state=None, ctrl=None, error=ValueError, **options):
    sim, good_state, good_ctrl = world
    state, ctrl = good_state if state is None else state, good_ctrl if ctrl is None else ctrl
    with pytest.raises(error, match=match):
        getattr(sim, method)(state, ctrl, **options)


@pytest.mark.parametrize("method", METHODS)
def test_shapes(world, method):
    _, state, ctrl = world
    rejects(world, method, r"state.*\(2, 10\).*\(2, 9\)", state=state[:, :9])
    rejects(world, method, r"state.*\(2, 10\).*\(1, 10\)", state=state[:1])
    rejects(world, method, r"state.*\(2, 10\).*\(20,\)", state=state.flatten())
    rejects(world, method, r"ctrl.*\(2, 2\).*\(2, 1\)", ctrl=ctrl[:, :1])
    rejects(world, method, r"ctrl.*\(2, 2\).*\(2,\)", ctrl=ctrl[0])


@pytest.mark.parametrize("method", METHODS)
def test_types(world, method):
    _, state, ctrl = world
    wrong = (TypeError, ValueError)
    rejects(world, method, "state.*dtype.*float64.*float16", state=state.half(), error=wrong)
    rejects(world, method, "ctrl.*dtype.*float64.*int64", ctrl=ctrl.long(), error=wrong)
    rejects(world, method, "state.*ndarray", state=state.numpy(), error=wrong)
    rejects(world, method, "ctrl.*list", ctrl=ctrl.tolist(), error=wrong)
    rejects(world, method, "state.*cpu.*meta", state=state.to("meta"), error=wrong)
    rejects(world, method, "ctrl.*cpu.*meta", ctrl=ctrl.to("meta"), error=wrong)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("method", METHODS)
def test_numbers_must_be_finite(world, method, value):
    _, state, ctrl = world
    bad_state, bad_ctrl = state.clone(), ctrl.clone()
    bad_state[1, 7] = bad_ctrl[1, 0] = value
    # The message names the array, the world and the index.
    rejects(world, method, "(?s)state.*1.*7", state=bad_state)
    rejects(world, method, "(?s)ctrl.*1.*0", ctrl=bad_ctrl)


@pytest.mark.parametrize("method", ["step", "advance", "linearize"])
def test_num_steps(world, method):
    rejects(world, method, "num_steps must be >= 1, got 0", num_steps=0)
    rejects(world, method, "num_steps must be >= 1, got -2", num_steps=-2)
    rejects(world, method, "num_steps", num_steps=1.5, error=(TypeError, ValueError))


def test_position_names(world):
    sim, state, _ = world
    with pytest.raises((KeyError, ValueError), match="torso.*'wing'"):
        sim.xpos(state[:, :5], ["wing"])
    with pytest.raises((KeyError, ValueError), match="site.*'tip'"):
        sim.site_xpos(state[:, :5], ["tip"])
    with pytest.raises(ValueError, match=r"qpos.*\(2, 5\).*\(2, 10\)"):
        sim.xpos(state, ["torso"])


# ------------------------------------------------------------------------------------------ arguments of tasks


def test_unknown_task():
    with pytest.raises(ValueError, match="Swimmer-v5.*'Swimer-v5'"):
        diffsim.make("Swimer-v5")


def test_misspelled_option():
    with pytest.raises(TypeError, match="reset_noise_scale.*got reset_noise_scal"):
        diffsim.make("Swimmer-v5", reset_noise_scal=0.2)


@pytest.mark.parametrize("option", ["num_envs", "frame_skip"])
def test_counts_of_a_task(option):
    for value in (0, -1):
        with pytest.raises(ValueError, match=f"{option} must be >= 1, got {value}"):
            diffsim.make("Swimmer-v5", **{option: value})
    for value in (2.0, True, "3"):
        with pytest.raises(TypeError, match=f"{option} must be an int"):
            diffsim.make("Swimmer-v5", **{option: value})


def test_missing_mjcf_file():
    with pytest.raises(FileNotFoundError, match="xml_file.*no_such.xml"):
        diffsim.make("Swimmer-v5", xml_file="no_such.xml")


def test_arguments_of_transition():
    mdp = diffsim.make("Reacher-v5", num_envs=2)
    state = mdp.initial(torch.Generator().manual_seed(0))
    action = torch.zeros(2, 2, dtype=mdp.dtype)
    with pytest.raises(ValueError, match=r"state must have shape \(2, 11\), got \(2, 8\)"):
        mdp.transition(state[:, :8], action)
    with pytest.raises(ValueError, match=r"action must have shape \(2, 2\), got \(2,\)"):
        mdp.transition(state, action[0])
    with pytest.raises(ValueError, match="noise must be None"):
        mdp.transition(state, action, torch.zeros(2, 1))
    with pytest.raises(ValueError, match="(?s)ctrl.*1.*0"):
        mdp.transition(state, torch.tensor([[0, 0], [torch.nan, 0]], dtype=mdp.dtype))
