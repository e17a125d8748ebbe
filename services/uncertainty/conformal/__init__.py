"""Conformal prediction: sets, intervals and p-values with a guarantee of coverage.

`methods` are the algorithms on arrays, `application` the use cases, `http` the routes, `schemas` what they take and
answer, `storage` what is stored, `charts` the plots; `training` and `evaluation` are not part of the service.
"""
