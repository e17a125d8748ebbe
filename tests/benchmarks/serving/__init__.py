"""Facet beside the servers that it could be replaced by: one machine, one run, the same ONNX files, the same inputs.

models.py        the ONNX files, with cards          environments.py  a virtual environment per peer, pinned
cases.py         model, route, input, right answer   processes.py     a running system: its whole tree, CPU, memory
wire.py          what goes over the wire, and back   wrk.py, load.lua  closed loop
systems.py       how each system is started          measuring.py     one cell; order of cells
servers/         the peers' own side of it           rows.py          what was measured, kept as it comes
bare.py          onnxruntime alone                   report.py        ratios and tables

`python -m tests.benchmarks.serving` runs the comparison, `... .overload` three times the capacity, `... .hop` the
gateway beside the service alone. Client and server share the cores: numbers compare, they claim no capacity.
"""
