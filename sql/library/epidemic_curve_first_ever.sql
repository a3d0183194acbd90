-- First-ever records of $code by ISO week, over all weeks. As a series (`epiledger series open`) each patient counts
-- once, in the week of their first record as it is known when that week is closed, and one price pays for all weeks.
SELECT date_trunc('week', f.first_day) AS week, COUNT(*) AS cases
FROM (
    SELECT person_id, MIN(condition_start_date) AS first_day
    FROM condition_occurrence
    WHERE condition_source_value = $code
    GROUP BY person_id
) f
GROUP BY date_trunc('week', f.first_day)
ORDER BY week
