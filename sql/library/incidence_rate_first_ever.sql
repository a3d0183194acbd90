-- Incidence rate of a first-ever record of $code from $start to $end, both days included. Time at risk ends with that
-- record, whose day counts; who had one before has none. By gender, per 100,000 person-years of 365.25 days.
WITH first_case AS (
    SELECT person_id, MIN(condition_start_date) AS first_day
    FROM condition_occurrence
    WHERE condition_source_value = $code
    GROUP BY person_id
),
at_risk AS (
    SELECT p.person_id,
           p.gender,
           f.first_day,
           GREATEST(o.observation_period_start_date, CAST($start AS DATE)) AS from_day,
           LEAST(o.observation_period_end_date, CAST($end AS DATE), COALESCE(f.first_day, CAST($end AS DATE))) AS to_day
    FROM person p
    JOIN observation_period o ON o.person_id = p.person_id
    LEFT JOIN first_case f ON f.person_id = p.person_id
)
SELECT gender,
       SUM(GREATEST(0, to_day - from_day + 1)) AS person_days,
       COUNT(*) FILTER (WHERE first_day BETWEEN from_day AND to_day) AS cases,
       100000 * 365.25 * COUNT(*) FILTER (WHERE first_day BETWEEN from_day AND to_day)
           / SUM(GREATEST(0, to_day - from_day + 1)) AS cases_per_100000_person_years
FROM at_risk
GROUP BY gender
ORDER BY gender
