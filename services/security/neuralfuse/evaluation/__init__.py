"""What NeuralFuse achieves here, beside the paper and beside what else one could do; writes report.md and the cards."""
