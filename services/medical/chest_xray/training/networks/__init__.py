"""The dual-encoder multi-task UNet of Qiu, Rivaz and Xiao 2025, and its smaller variants."""
