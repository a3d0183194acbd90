//! Calendar days as whole numbers, so that no time zone can move them.
//!
//! A day counts from 1970-01-01 in the proleptic Gregorian calendar, as Arrow's Date32 does
//! (the conversion is Howard Hinnant's `days_from_civil`).

/// Days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i32);

impl Day {
    /// The day with these parts; `None` when there is no such day.
    #[must_use]
    pub fn from_parts(year: i32, month: u32, day: u32) -> Option<Self> {
        if !(1..=9999).contains(&year) || !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
            return None;
        }
        let (year, month, day) = (i64::from(year), i64::from(month), i64::from(day));
        let shifted = if month <= 2 { year - 1 } else { year };
        let era = shifted.div_euclid(400);
        let year_of_era = shifted - era * 400;
        let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        i32::try_from(era * 146_097 + day_of_era - 719_468).ok().map(Self)
    }

    /// Year, month 1-12, day of month.
    #[must_use]
    pub fn parts(self) -> (i32, u32, u32) {
        let z = i64::from(self.0) + 719_468;
        let era = z.div_euclid(146_097);
        let day_of_era = z.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        // An i32 of days spans under 6 million years, and months and days are small.
        (year as i32, month as u32, day as u32)
    }

    /// The day that starts `text`: `YYYY-MM-DD` alone or followed by `T` or a space and a time.
    ///
    /// The local calendar date of an offset time is taken as written; nothing is converted to UTC.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let (date, rest) = bytes.split_at_checked(10)?;
        if !matches!(rest.first(), None | Some(b'T' | b' ')) {
            return None;
        }
        let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1] = *date else {
            return None;
        };
        let number = |digits: &[u8]| {
            digits.iter().try_fold(0_u32, |sum, d| d.is_ascii_digit().then(|| sum * 10 + u32::from(d - b'0')))
        };
        let year = i32::try_from(number(&[y0, y1, y2, y3])?).ok()?;
        Self::from_parts(year, number(&[m0, m1])?, number(&[d0, d1])?)
    }

    /// The calendar year.
    #[must_use]
    pub fn year(self) -> i32 {
        self.parts().0
    }

    /// 1 January of the same year: what Safe Harbor leaves of a date.
    #[must_use]
    pub fn first_of_year(self) -> Self {
        Self::from_parts(self.year(), 1, 1).unwrap_or(self)
    }

    /// Day of the week, Monday 0 to Sunday 6.
    #[must_use]
    pub fn weekday(self) -> u32 {
        // 1970-01-01 was a Thursday; the remainder is 0..=6.
        (self.0.rem_euclid(7) + 3).rem_euclid(7) as u32
    }
}

impl std::fmt::Display for Day {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (year, month, day) = self.parts();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

/// Days of a month.
fn days_in(year: i32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_four_centuries_survives_the_round_trip() {
        let mut previous = None;
        for number in -80_000..80_000 {
            let day = Day(number);
            let (year, month, of_month) = day.parts();
            assert_eq!(Day::from_parts(year, month, of_month), Some(day));
            assert_eq!(Day::parse(&day.to_string()), Some(day));
            assert!(previous < Some((year, month, of_month)));
            previous = Some((year, month, of_month));
        }
    }

    #[test]
    fn known_days() {
        assert_eq!(Day::parse("1970-01-01"), Some(Day(0)));
        assert_eq!(Day::parse("2000-02-29"), Some(Day(11_016)));
        assert_eq!(Day::parse("2025-12-31").map(Day::weekday), Some(2));
    }

    #[test]
    fn an_offset_time_keeps_its_local_date() {
        assert_eq!(Day::parse("2020-03-01T23:59:00-05:00"), Day::parse("2020-03-01"));
    }

    #[test]
    fn no_such_day_is_refused() {
        for text in ["2021-02-29", "1900-02-29", "2020-13-01", "2020-00-10", "2020-1-1", "20200101", "2020-01-01x", ""]
        {
            assert_eq!(Day::parse(text), None, "{text}");
        }
    }
}
