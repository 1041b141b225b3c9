"""The faults of benchmarks/mutants.toml fit the code, and a fault is planted where it says."""

import importlib
import sys

from benchmarks.mutants import ROOT, _Importer, fits, mutated, read_mutants, source_file


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


def test_an_imported_module_has_the_fault(monkeypatch):
    (mutant,) = (mutant for mutant in read_mutants() if mutant.name == "the last step of an episode does not count")
    name = mutant.module
    monkeypatch.setattr(sys, "meta_path", [_Importer(mutant), *sys.meta_path])
    before = sys.modules.pop(name)
    try:
        assert "return ended.cumsum(0) == 0" in mutated(mutant, source_file(mutant).read_text())
        faulty = importlib.import_module(name)
        ended = importlib.import_module("torch").tensor([[False], [True], [False]])
        assert faulty.first_episode(ended).flatten().tolist() == [True, False, False]
        assert before.first_episode(ended).flatten().tolist() == [True, True, False]
    finally:
        sys.modules[name] = before
        package, _, last = name.rpartition(".")
        setattr(sys.modules[package], last, before)
