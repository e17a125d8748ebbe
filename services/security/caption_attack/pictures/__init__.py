"""Pictures that are attacked: as they are posted, and how far a changed one is from the clean one."""
