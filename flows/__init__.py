"""The Prefect flows: the worker (`process_jobs`) and what runs on a schedule."""
