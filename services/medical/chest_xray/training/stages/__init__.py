"""Multi-stage cooperative learning: stages one after the other, each resumable."""
