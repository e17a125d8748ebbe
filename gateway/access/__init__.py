"""At the gateway: who asks, whether they may, how much they have left, and a note of what they ran.

The layer authenticates before a byte of the body is read. It is on the way of every request; without API keys it only
keeps the log.
"""
