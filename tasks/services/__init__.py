"""What processors reach the outside with: mail, notifications, payments, HTTP, files; one circuit breaker for each."""
