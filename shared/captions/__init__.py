"""Captions as words, and how alike captions and references are, as COCO's evaluation has it (pycocoevalcap 1.2)."""
