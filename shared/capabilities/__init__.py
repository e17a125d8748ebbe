"""What a capability says of itself, in one place, and what the frame reads there.

`services/<domain>/<name>/capability.py` holds one constant `CAPABILITY`. It is data: whatever needs a framework, NumPy
or a model is named as `module:attribute` and imported by the process that needs it, so that the gateway, the supervisor
and the command line read declarations for next to nothing. Nothing in `shared` knows a capability by name or path.
"""
