"""Recurrent cells and stacks, their dropout and their output heads."""
