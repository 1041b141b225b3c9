"""The faults of benchmarks/mutants.toml fit the code, and a fault is planted where it says."""

import importlib.util

import torch

from benchmarks.mutants import ROOT, _Importer, fits, mutated, read_mutants, source_file
from diffsim.trainers.maths import returns


def test_faults_fit_the_code_and_have_tests():
    """A few may wait to be brought up to date with the code."""
    mutants = read_mutants()
    assert len({(mutant.module, mutant.name) for mutant in mutants}) == len(mutants) >= 80
    assert all((ROOT / test).exists() for mutant in mutants for test in mutant.tests)
    fitting = [mutant for mutant in mutants if fits(mutant)]
    assert len(fitting) >= 0.9 * len(mutants)
    for mutant in fitting:
        source = source_file(mutant).read_text()
        assert compile(mutated(mutant, source), mutant.module, "exec") and mutated(mutant, source) != source


def test_an_imported_module_has_the_fault():
    """The last step of an episode does not count in it."""
    (mutant,) = (mutant for mutant in read_mutants() if mutant.name == "the last step of an episode does not count")
    ended = torch.tensor([[False], [True], [False]])
    assert returns.first_episode(ended).flatten().tolist() == [True, True, False]
    spec = _Importer(mutant).find_spec(mutant.module)
    faulty = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(faulty)
    assert faulty.first_episode(ended).flatten().tolist() == [True, False, False]
