-- Period prevalence from $start to $end, both days included: persons with a record of $code that touches the period,
-- over two denominators: all who are observed on a day of it, and those who are observed on every day of it.
-- By gender, per 100,000.
SELECT p.gender,
       COUNT(*) AS persons_any,
       COUNT(c.person_id) AS cases_any,
       COUNT(*) FILTER (WHERE o.whole) AS persons_whole,
       COUNT(c.person_id) FILTER (WHERE o.whole) AS cases_whole,
       100000.0 * COUNT(c.person_id) / COUNT(*) AS any_per_100000,
       100000.0 * COUNT(c.person_id) FILTER (WHERE o.whole) / COUNT(*) FILTER (WHERE o.whole) AS whole_per_100000
FROM person p
JOIN (
    SELECT person_id,
           observation_period_start_date <= CAST($start AS DATE)
               AND observation_period_end_date >= CAST($end AS DATE) AS whole
    FROM observation_period
    WHERE observation_period_start_date <= CAST($end AS DATE)
      AND observation_period_end_date >= CAST($start AS DATE)
) o ON o.person_id = p.person_id
LEFT JOIN (
    SELECT DISTINCT person_id
    FROM condition_occurrence
    WHERE condition_source_value = $code
      AND condition_start_date <= CAST($end AS DATE)
      AND COALESCE(condition_end_date, CAST($end AS DATE)) >= CAST($start AS DATE)
) c ON c.person_id = p.person_id
GROUP BY p.gender
ORDER BY p.gender
