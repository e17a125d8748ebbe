"""A capability of its own folder, as an operator would add one: a model, a job, and a job that needs gradients.

A fleet has it by FACET_CAPABILITIES=tests.support.toy.capability; nothing else in the tree knows of it.
"""
