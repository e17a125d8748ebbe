"""The Open Inference Protocol (v2) with Triton's extension for binary tensors: every model of a service under /v2.

Whatever speaks to Triton, KServe or MLServer over HTTP speaks to Facet unchanged. The way of a tensor is kept short: no
Pydantic model, no copy but the one that puts a batch together.
"""
