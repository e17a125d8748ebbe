"""The two ways to a model of the fleet that another capability works with.

Black box (`client`): ask the service that has it over HTTP, as a stranger would, with a budget of queries that is
counted and held to. For whatever must see no more than answers: attacks, calibration, evaluation.

White box (`artifacts`): its ONNX file and card, released or uploaded, verified by digest. For whatever needs the graph
or the weights: explanation, gradients, protection.
"""
