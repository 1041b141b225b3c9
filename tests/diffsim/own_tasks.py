"""Tasks of a user: a torque pendulum, an arm with muscles, a slider with a goal, and a model that is not supported."""

import torch

from diffsim.tasks import GoalTask, Task

PENDULUM = """
<mujoco>
  <option timestep="0.01" integrator="RK4"/>
  <worldbody>
    <camera name="side" pos="0 -3 0" xyaxes="1 0 0 0 0 1"/>
    <body>
      <joint name="hinge" axis="0 1 0" damping="0.01"/>
      <geom type="capsule" size="0.02" fromto="0 0 0 0 0 0.5" mass="0.2"/>
      <site name="tip" pos="0 0 0.5"/>
    </body>
  </worldbody>
  <actuator><motor name="torque" joint="hinge" ctrlrange="-1 1"/></actuator>
</mujoco>
"""


class Pendulum(Task):
    """Keep a pendulum up."""

    xml_file, frame_skip, max_episode_steps, num_extras = PENDULUM, 2, 30, 1

    def reset_model(self, generator):
        return self.uniform(1, 3.0, generator), self.normal(1, 0.1, generator)

    def extras(self, evaluation):
        return self.simulator.site_xpos(evaluation.qpos, ["tip"])[:, 0, 2:]

    def observation(self, state):
        qpos, qvel, height = self.split(state)
        return torch.cat([qpos.sin(), qpos.cos(), qvel, height], dim=1)

    def reward(self, state, action, next_state):
        return next_state[:, 2] - 0.1 * action.square().sum(1)

    def terminal(self, state):
        return state[:, 1].abs() > 20


class PlainPendulum(Pendulum):
    """The same, with height as a function of the angle: no extras."""

    num_extras = 0

    def extras(self, evaluation):
        return evaluation.qpos[:, :0]

    def observation(self, state):
        qpos, qvel, _ = self.split(state)
        return torch.cat([qpos.sin(), qpos.cos(), qvel], dim=1)

    def reward(self, state, action, next_state):
        return 0.5 * next_state[:, 0].cos() - 0.1 * action.square().sum(1)


class Forearm(Task):
    """Hold a forearm level by two muscles, which sees the last evaluation's activations."""

    xml_file = """
    <mujoco>
      <option timestep="0.005" integrator="implicitfast"/>
      <worldbody>
        <body>
          <joint name="elbow" axis="0 -1 0" damping="0.05"/>
          <geom type="capsule" size="0.02" fromto="0 0 0 0.3 0 0" mass="0.5"/>
        </body>
      </worldbody>
      <actuator>
        <muscle name="biceps" joint="elbow" gear="-0.04" lengthrange="-0.1 0.1" force="120" tausmooth="0.5"
          ctrlrange="0 1"/>
        <muscle name="triceps" joint="elbow" gear="0.04" lengthrange="-0.1 0.1" force="60" tausmooth="0.5"
          ctrlrange="0 1"/>
      </actuator>
    </mujoco>
    """
    frame_skip, max_episode_steps, num_extras = 2, 30, 2

    def reset_model(self, generator):
        return self.uniform(1, 0.5, generator), self.normal(1, 0.1, generator)

    def reset_act(self, generator):
        return 0.3 + self.uniform(2, 0.2, generator)

    def extras(self, evaluation):
        return evaluation.act

    def observation(self, state):
        qpos, qvel, before = self.split(state)
        return torch.cat([qpos, qvel, self.act(state), before], dim=1)

    def reward(self, state, action, next_state):
        return -next_state[:, 0].square() - 0.1 * self.act(next_state).square().sum(1)


class SlideTo(GoalTask):
    """Slide a block to a goal on a line."""

    xml_file = """
    <mujoco>
      <option timestep="0.02" gravity="0 0 0"/>
      <worldbody>
        <body><joint name="x" type="slide" axis="1 0 0" damping="1"/><geom size="0.1" mass="1"/></body>
        <body name="goal">
          <joint type="slide" axis="1 0 0"/><geom size="0.1" mass="1" contype="0" conaffinity="0"/>
        </body>
      </worldbody>
      <actuator><motor joint="x" ctrlrange="-1 1"/></actuator>
    </mujoco>
    """
    goal_size, distance_threshold, frame_skip = 1, 0.2, 5

    def reset_model(self, generator):
        return self.uniform(2, 1.0, generator), self.normal(2, 0.0, generator)

    def achieved_goal(self, state):
        return state[:, :1]

    def features(self, state):
        return state[:, 2:3]


class Cable(Pendulum):
    """A pendulum on a spatial tendon, with an option that the simulator does not support."""

    simulated = False
    xml_file = PENDULUM.replace(
        "<actuator>",
        '<tendon><spatial stiffness="5"><site site="tip"/><site site="anchor"/></spatial></tendon><actuator>',
    ).replace("<body>", '<site name="anchor" pos="0.5 0 1"/><body>')
    xml_file = xml_file.replace("<worldbody>", '<option><flag diagexact="enable"/></option><worldbody>')
