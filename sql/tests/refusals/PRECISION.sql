-- refuse: date_trunc (safe harbor)
SELECT date_trunc('month', visit_start_date), COUNT(*) FROM visit_occurrence GROUP BY 1
-- refuse: (any) (safe harbor)
SELECT COUNT(*) FROM visit_occurrence WHERE EXTRACT(MONTH FROM visit_start_date) = 3
-- refuse: week (safe harbor)
SELECT week(d), COUNT(*) FROM (SELECT coalesce(visit_start_date, visit_end_date) d FROM visit_occurrence) GROUP BY 1
-- accept (safe harbor)
SELECT date_trunc('year', visit_start_date), COUNT(*) FROM visit_occurrence GROUP BY 1
-- accept (safe harbor)
SELECT EXTRACT(YEAR FROM visit_start_date), COUNT(*) FROM visit_occurrence GROUP BY 1
-- accept
SELECT date_trunc('week', visit_start_date), COUNT(*) FROM visit_occurrence GROUP BY 1
-- refuse: month (safe harbor)
SELECT month(d), COUNT(*) FROM (SELECT person_id, MIN(visit_start_date) d FROM visit_occurrence GROUP BY person_id) GROUP BY 1
-- accept (safe harbor)
SELECT year(d), COUNT(*) FROM (SELECT person_id, MIN(visit_start_date) d FROM visit_occurrence GROUP BY person_id) GROUP BY 1
-- refuse: (any) (safe harbor)
SELECT to_char(visit_start_date, '%Y-%m'), COUNT(*) FROM visit_occurrence GROUP BY 1
-- refuse: (any) (safe harbor)
SELECT COUNT(*) FROM visit_occurrence WHERE date_diff('month', visit_start_date, visit_end_date) > 3
-- refuse: (any) (safe harbor)
SELECT last_day(visit_start_date), COUNT(*) FROM visit_occurrence GROUP BY 1
-- accept (safe harbor)
SELECT to_char(visit_start_date, 'in %Y'), COUNT(*) FROM visit_occurrence WHERE date_diff('year', visit_start_date, visit_end_date) = 0 GROUP BY 1
