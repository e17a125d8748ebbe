"""Control of other risks than missing the label."""
