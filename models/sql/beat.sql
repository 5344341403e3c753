-- One heartbeat; what it reads back is how a worker learns that it is to stop.
UPDATE workers
SET beat_at = now(), flow_run_id = %(flow_run_id)s
WHERE worker_id = %(worker_id)s
RETURNING stop_requested
