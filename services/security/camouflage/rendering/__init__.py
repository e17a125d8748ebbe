"""Pictures of meshes on backgrounds: all that does not depend on the texture, and plain pictures for serving.

Geometry, light and material are fixed while a texture is optimised, so that the linear light of a pixel is a constant
plus a weighted sum of texels. This package computes both in NumPy; `optimisation.rendering` differentiates the sum.
"""
