"""Robustness tests of captioners: how far a few changed pixels move a caption, within a number of queries.

The engine: what is changed (`perturbations`), where (`candidates`), by which search (`evolution`, `searches`), judged
by what (`objectives`), put together as arms (`arms`) and run on one picture (`campaign`). A captioner is asked for
captions alone; it shows neither weights nor scores.
"""
