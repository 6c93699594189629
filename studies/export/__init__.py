"""Exports of networks as model folders, and checks of such folders."""
