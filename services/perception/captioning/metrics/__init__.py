"""How alike captions and references are, as COCO's evaluation computes it (pycocoevalcap 1.2); captions are words."""
