-- Incidence rate of records of $code from $start to $end, both days included, with a washout of $washout days: a
-- record takes its person out of risk from the day after it starts until $washout days after it ends, counted or not,
-- so that washouts chain. A record without an end lasts. A person counts at most 5 times, which keeps the noise small.
-- By gender, per 100,000 person-years of 365.25 days.
WITH observed AS (
    SELECT person_id,
           GREATEST(observation_period_start_date, CAST($start AS DATE)) AS from_day,
           LEAST(observation_period_end_date, CAST($end AS DATE)) AS to_day
    FROM observation_period
),
spell AS (
    SELECT person_id,
           condition_start_date AS start_day,
           COALESCE(condition_end_date, CAST($end AS DATE)) + CAST($washout AS INTEGER) AS until_day
    FROM condition_occurrence
    WHERE condition_source_value = $code
),
chained AS (
    SELECT person_id,
           start_day,
           until_day,
           MAX(until_day) OVER (
               PARTITION BY person_id ORDER BY start_day, until_day
               ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
           ) AS out_until
    FROM spell
),
patient AS (
    SELECT o.person_id,
           SUM(GREATEST(0, LEAST(c.until_day, o.to_day)
               - GREATEST(c.start_day + 1, COALESCE(c.out_until, c.start_day) + 1, o.from_day) + 1)) AS days_out,
           COUNT(*) FILTER (WHERE c.start_day BETWEEN o.from_day AND o.to_day
                              AND (c.out_until IS NULL OR c.start_day > c.out_until)) AS cases
    FROM observed o
    JOIN chained c ON c.person_id = o.person_id
    GROUP BY o.person_id
)
SELECT p.gender,
       SUM(GREATEST(0, o.to_day - o.from_day + 1 - COALESCE(x.days_out, 0))) AS person_days,
       SUM(LEAST(5, COALESCE(x.cases, 0))) AS cases,
       100000 * 365.25 * SUM(LEAST(5, COALESCE(x.cases, 0)))
           / SUM(GREATEST(0, o.to_day - o.from_day + 1 - COALESCE(x.days_out, 0))) AS cases_per_100000_person_years
FROM person p
JOIN observed o ON o.person_id = p.person_id
LEFT JOIN patient x ON x.person_id = p.person_id
GROUP BY p.gender
ORDER BY p.gender
