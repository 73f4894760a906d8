"""Faults that are injected into runs: shared by the quick tests here and by ``scripts/faults``."""
