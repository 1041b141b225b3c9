"""Learned dynamics, rewards and terminations, the data they are fitted to, and the MDP that they make."""

from models.data import Data, from_windows
from models.ensemble import GaussianEnsemble
from models.fitting import ModelFit
from models.known import REWARDS, TERMINATIONS
from models.learned_mdp import LearnedMDP
from models.recurrent import EnsembleGRU
from models.statistics import Moments, Statistics
from models.storage import DataError, StoredData, load_data, save_data
from models.world_model import WorldModel

__all__ = [
    "REWARDS",
    "TERMINATIONS",
    "Data",
    "DataError",
    "EnsembleGRU",
    "GaussianEnsemble",
    "LearnedMDP",
    "ModelFit",
    "Moments",
    "Statistics",
    "StoredData",
    "WorldModel",
    "from_windows",
    "load_data",
    "save_data",
]
