"""The public endpoint: routes to the services, the jobs API, one OpenAPI document and Swagger UI."""
