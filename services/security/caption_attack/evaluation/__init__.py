"""What the searches of caption attacks are worth: measured on captioners of the fleet, asked over HTTP."""
