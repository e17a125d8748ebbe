"""The use cases: fit a calibration, predict, evaluate, stream, monitor, control risks."""
