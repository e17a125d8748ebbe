"""Textures and what of a car they replace: paints, posted and random ones, covers by area, palettes, previews."""
