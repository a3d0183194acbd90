-- Epidemic curve: first-ever records of $code by ISO week, from $start to $end, both days included.
WITH first_case AS (
    SELECT person_id, MIN(condition_start_date) AS first_day
    FROM condition_occurrence
    WHERE condition_source_value = $code
    GROUP BY person_id
)
SELECT date_trunc('week', first_day) AS week, COUNT(*) AS cases
FROM first_case
WHERE first_day BETWEEN CAST($start AS DATE) AND CAST($end AS DATE)
GROUP BY date_trunc('week', first_day)
ORDER BY week
