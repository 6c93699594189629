"""Pareto fronts of a study."""
