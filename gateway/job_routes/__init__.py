"""The routes of jobs: their state, their events as they come, the files that they made."""
