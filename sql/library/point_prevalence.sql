-- Point prevalence on $day: persons with a record of $code that covers the day, among all who are observed on it.
-- A record without an end lasts. By gender, per 100,000.
SELECT p.gender,
       COUNT(*) AS persons,
       COUNT(c.person_id) AS cases,
       100000.0 * COUNT(c.person_id) / COUNT(*) AS cases_per_100000
FROM person p
JOIN observation_period o ON o.person_id = p.person_id
LEFT JOIN (
    SELECT DISTINCT person_id
    FROM condition_occurrence
    WHERE condition_source_value = $code
      AND condition_start_date <= CAST($day AS DATE)
      AND COALESCE(condition_end_date, CAST($day AS DATE)) >= CAST($day AS DATE)
) c ON c.person_id = p.person_id
WHERE o.observation_period_start_date <= CAST($day AS DATE)
  AND o.observation_period_end_date >= CAST($day AS DATE)
GROUP BY p.gender
ORDER BY p.gender
