"""What every process of Facet needs: settings, problems, HTTP plumbing, imaging, storage, runtime, jobs, telemetry.

Nothing in here imports the gateway or a service.
"""
