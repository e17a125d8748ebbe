"""What people and programs find their way by: the index, the merged OpenAPI document, Swagger UI."""
