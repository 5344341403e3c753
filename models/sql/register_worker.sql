INSERT INTO workers (worker_id, host, pid, job_types, waiting)
VALUES (%(worker_id)s, %(host)s, %(pid)s, %(job_types)s, %(waiting)s)
ON CONFLICT (worker_id) DO UPDATE
SET beat_at = now(), stopped_at = NULL
