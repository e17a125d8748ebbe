"""The model runtime: cards that tell the truth about a model, verified onnxruntime sessions, bounded slots."""
