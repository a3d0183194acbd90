//! Bars with interval marks as SVG: no script, no inline style, the numbers also stand in the table beside it.

use std::fmt::Write;

/// One bar.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// Its label.
    pub label: String,
    /// Its length.
    pub value: f64,
    /// Low end of its interval.
    pub low: f64,
    /// High end of its interval.
    pub high: f64,
}

const WIDTH: f64 = 720.0;
const LABEL: f64 = 150.0;
const STEP: f64 = 22.0;
const BAR: f64 = 14.0;
const HEIGHT: f64 = 260.0;
const FOOT: f64 = 46.0;

/// Horizontal bars, for named categories. Negative values draw no bar; their interval still shows.
#[must_use]
pub fn horizontal(title: &str, bars: &[Bar]) -> String {
    let height = STEP * count(bars) + 8.0;
    let room = WIDTH - LABEL - 16.0;
    let scale = room / greatest(bars);
    let mut body = String::new();
    for (i, bar) in bars.iter().enumerate() {
        let top = STEP * i_f64(i) + 6.0;
        let middle = top + BAR / 2.0;
        let [value, low, high] = [bar.value, bar.low, bar.high].map(|v| v.max(0.0) * scale);
        // Writing into a String can't fail.
        let _ = write!(
            body,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LABEL}\" y=\"{top:.1}\" width=\"{value:.1}\" height=\"{BAR}\" class=\"bar\"/>\
             <path d=\"M{:.1} {middle:.1}H{:.1}M{:.1} {:.1}v8M{:.1} {:.1}v8\" class=\"interval\"/>",
            LABEL - 8.0,
            top + 11.0,
            escaped(&bar.label),
            LABEL + low,
            LABEL + high,
            LABEL + low,
            middle - 4.0,
            LABEL + high,
            middle - 4.0,
        );
    }
    framed(title, height, &body)
}

/// Vertical bars in the order given, for a series in time; about twelve labels are written.
#[must_use]
pub fn vertical(title: &str, bars: &[Bar]) -> String {
    let step = (WIDTH - 16.0) / count(bars);
    let base = HEIGHT - FOOT;
    let scale = (base - 12.0) / greatest(bars);
    let every = bars.len().div_ceil(12).max(1);
    let mut body = String::new();
    for (i, bar) in bars.iter().enumerate() {
        let left = 8.0 + step * i_f64(i);
        let middle = left + step / 2.0;
        let [value, low, high] = [bar.value, bar.low, bar.high].map(|v| v.max(0.0) * scale);
        let _ = write!(
            body,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{value:.1}\" class=\"bar\"/>\
             <path d=\"M{middle:.1} {:.1}V{:.1}\" class=\"interval\"/>",
            left + step * 0.15,
            base - value,
            step * 0.7,
            base - low,
            base - high,
        );
        if i % every == 0 {
            let _ = write!(
                body,
                "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                base + 18.0,
                escaped(&bar.label),
            );
        }
    }
    let _ = write!(body, "<path d=\"M8 {base:.1}H{:.1}\" class=\"axis\"/>", WIDTH - 8.0);
    framed(title, HEIGHT, &body)
}

fn framed(title: &str, height: f64, body: &str) -> String {
    let title = escaped(title);
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{title}\" class=\"chart\">\
         <title>{title}</title>{body}</svg>"
    )
}

/// The greatest end of any bar, at least a hair over 0 so that scales stay finite.
fn greatest(bars: &[Bar]) -> f64 {
    bars.iter().flat_map(|b| [b.value, b.high]).filter(|v| v.is_finite()).fold(1e-9, f64::max)
}

fn count(bars: &[Bar]) -> f64 {
    i_f64(bars.len().max(1))
}

/// A small count as a coordinate; past u32 a chart has no meaning.
fn i_f64(i: usize) -> f64 {
    f64::from(u32::try_from(i).unwrap_or(u32::MAX))
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(label: &str, value: f64) -> Bar {
        Bar { label: label.into(), value, low: value - 1.0, high: value + 1.0 }
    }

    #[test]
    fn the_longest_interval_fills_the_room_and_every_bar_is_drawn() {
        let svg = horizontal("t", &[bar("a", 1.0), bar("b", 9.0)]);
        assert_eq!(svg.matches("class=\"bar\"").count(), 2);
        // 9 of at most 10 over 554 units of room.
        assert!(svg.contains("width=\"498.6\""), "{svg}");
        let months: Vec<Bar> = (0..30).map(|i| bar(&format!("m{i}"), f64::from(i))).collect();
        let svg = vertical("t", &months);
        assert_eq!(svg.matches("class=\"bar\"").count(), 30);
        assert_eq!(svg.matches("<text").count(), 10);
    }

    #[test]
    fn labels_cannot_break_out_and_odd_values_stay_numbers() {
        let svg = horizontal("<x>", &[bar("<script>\"", -5.0), bar("n", f64::INFINITY)]);
        assert!(!svg.contains("<script>") && svg.contains("&lt;script&gt;&quot;"));
        assert!(svg.contains("aria-label=\"&lt;x&gt;\""));
        assert!(!svg.contains("NaN"), "{svg}");
        assert!(vertical("none", &[]).contains("<svg"));
    }
}
