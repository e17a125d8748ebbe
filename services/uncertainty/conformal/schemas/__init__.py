"""What requests and answers hold, as Pydantic models; the field names are the public ones."""
