"""The measurement campaign: recipes, rungs and the factorial of links, trained under one protocol."""
