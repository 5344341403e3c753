-- The reminders that wait for the end of somebody's quiet hours, by the customers' time zone, the next ones first.
SELECT
    coalesce(customer.time_zone, %(zone)s) AS zone,
    count(*)::int AS jobs,
    min(job.scheduled_for) AS until
FROM background_jobs AS job
JOIN appointments AS appointment ON appointment.id = job.payload ->> 'appointment_id'
JOIN customers AS customer ON customer.id = appointment.customer_id
WHERE job.job_type = 'send_reminder' AND job.status = 'pending' AND job.scheduled_for > now()
GROUP BY 1
ORDER BY 3, 1
