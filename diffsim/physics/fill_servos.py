"""Evaluates the laws of PID controllers and DC motors at an evaluation point."""

from functools import partial

from diffsim.collision.gradient_call import calls_gradient
from diffsim.physics.actuation import actuator_length, moment_dot
from diffsim.physics.lanes import lane, lanes, sync
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.servo import fill_servo, servo_point


@partial(calls_gradient, inline=True)
def fill_servos(m: ModelArrays, s: Scratch, world: int):
    """Fills the forces and their gradients. Needs the motion and the lines."""
    for row in range(lane(), m.nservo, lanes()):
        actuator = m.rare[0].servo_actuator[row]
        length = actuator_length(m, s, world, actuator)
        velocity = moment_dot(m, s, world, actuator, s.qvel[world])
        fill_servo(m, s, world, row, servo_point(m, s, world, row, length, velocity))
    sync()
