"""Sparsity of the mass matrix, and sizes of the working memory for the sparsity of constraints.

`diffsim.physics.structure` says what is sparse; a run is a range of consecutive dofs.
"""

from typing import Any

import mujoco
import numpy as np

from diffsim.physics.structure import WORD


def sparsity_fields(m: mujoco.MjModel) -> dict[str, Any]:
    """Runs of the ancestors of each dof, in descending order: `dof_address` [nv + 1] and `dof_run` [n, 2]."""
    address, runs = [0], []
    for parent in m.dof_parentid:
        if parent >= 0:
            above = runs[address[parent] : address[parent + 1]]
            follows = above and above[0][1] == parent
            runs += [(above[0][0], parent + 1), *above[1:]] if follows else [(parent, parent + 1), *above]
        address.append(len(runs))
    return dict(dof_address=np.array(address), dof_run=np.array(runs, int).reshape(-1, 2))


def sparsity_sizes(m: mujoco.MjModel, host: dict[str, Any], max_rows: int) -> dict[str, int]:
    """Sizes for the runs of constraints' rows and of the Hessian (see `diffsim.physics.scratch.FIELDS`).

    Args:
        m: the compiled model.
        host: fields of `ModelArrays`.
        max_rows: largest number of rows.
    """
    last = host["body_lastdof"]
    # runs of the dofs that move a body: those of its last dof's ancestors, and at most one more
    chain = np.where(last >= 0, 1 + np.diff(host["dof_address"])[last] if m.nv else 0, 0)
    geoms = np.stack([host["pair_geom1"], host["pair_geom2"]])[:, : host["npair"]]
    bodies = m.geom_bodyid[geoms]
    contact = int(chain[bodies].sum(0).max(initial=0))
    joined = host["eq_body"][: host["neq"]]
    tendons = 3 * (int(host["tendon_num"].sum()) + len(host["line_run"])) if m.ntendon else 0
    tendons += len(host["tendon_eq_run"])
    equalities = int(chain[joined].sum()) + 2 * host["njoint_eq"]
    words = (m.nv + WORD - 1) // WORD
    couples = bool(joined.size or host["njoint_eq"] or m.ntendon or (last[bodies] >= 0).all(0).any())
    return {
        "run": max_rows + contact * host["max_contacts"] + equalities + tendons,
        "word": words,
        "row_end": m.nv + 1,
        "hessian_run": m.nv * (m.nv // 2 + words) if couples else 1,
    }
