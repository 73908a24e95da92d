//! Charts as SVG that stands in the page: lines with points, each of which says its value to whoever points at it or goes to it by
//! the keyboard. Colours are the page's, so that they follow its light or dark mode.
//!
//! Imports nothing of ours. Begin with [`Chart`].

#![warn(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)] // the console of src/guestbook alone writes to either

use std::fmt::Write;

/// The style of charts, for the page they stand in.
pub const STYLE: &str = include_str!("chart.css");
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 46.0;
/// Colours that the style sheet has.
const COLOURS: usize = 8;
/// Lines across at most.
const TICKS: usize = 6;
/// Names of lines are so far apart at least.
const NAME_HEIGHT: f64 = 15.0;

/// What is drawn.
#[derive(Clone, Debug)]
pub struct Chart {
    /// What its file is called.
    pub name: &'static str,
    /// What stands above it.
    pub title: &'static str,
    /// From left to right.
    pub across: Axis,
    /// From the bottom to the top.
    pub up: Axis,
    /// What is drawn, in the order of its colours.
    pub lines: Vec<Line>,
}

/// What a side of the chart means.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What stands beside it.
    pub name: &'static str,
    /// How values become places.
    pub scale: Scale,
    /// Where there is a tick, and what it says; none are chosen.
    pub ticks: Vec<(f64, String)>,
}

/// How values become places.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scale {
    /// From zero.
    Linear,
    /// Each power of ten as wide as the next.
    Logarithmic,
}

/// A line with points.
#[derive(Clone, Debug)]
pub struct Line {
    /// What stands at its end.
    pub name: String,
    /// Where it goes: across and up.
    pub points: Vec<(f64, f64)>,
    /// What each point says.
    pub labels: Vec<String>,
}

/// From values to a place between 0 and 1.
struct Range {
    low: f64,
    high: f64,
    scale: Scale,
}

impl Range {
    fn over(values: impl Iterator<Item = f64>, scale: Scale) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values {
            (low, high) = (low.min(value), high.max(value));
        }
        match scale {
            Scale::Linear => (low, high) = (0.0, if high > 0.0 { high * 1.05 } else { 1.0 }),
            Scale::Logarithmic => {
                low = if low.is_finite() && low > 0.0 {
                    low
                } else {
                    0.001
                };
                high = high.max(low * 2.0);
            }
        }
        Self { low, high, scale }
    }

    fn place(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Logarithmic => {
                (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
            }
        }
    }

    /// Round values within it.
    fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let rough = self.high / TICKS as f64;
                let ten = 10_f64.powf(rough.log10().floor());
                let step = [1.0, 2.0, 5.0, 10.0].map(|times| times * ten);
                let step = step
                    .into_iter()
                    .find(|step| *step >= rough)
                    .unwrap_or(rough);
                (0..=TICKS)
                    .map(|at| at as f64 * step)
                    .filter(|tick| *tick <= self.high)
                    .collect()
            }
            Scale::Logarithmic => {
                let (first, last) = (
                    self.low.log10().floor() as i32,
                    self.high.log10().ceil() as i32,
                );
                let all = (first..=last)
                    .flat_map(|power| [1.0, 2.0, 5.0].map(|it| it * 10_f64.powi(power)));
                let mut ticks: Vec<_> = all
                    .filter(|tick| (self.low..=self.high).contains(tick))
                    .collect();
                let every = ticks.len().div_ceil(TICKS + 1).max(1);
                ticks = ticks.into_iter().step_by(every).collect();
                ticks
            }
        }
    }
}

impl Chart {
    /// Whether there is anything to draw.
    pub fn has_points(&self) -> bool {
        self.lines.iter().any(|line| !line.points.is_empty())
    }

    /// The chart as it stands in a page that has the style.
    pub fn svg(&self) -> String {
        let mut svg = format!(
            r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="group" aria-label="{}">"#,
            escape(self.title)
        );
        self.draw(&mut svg);
        svg.push_str("</svg>");
        svg
    }

    /// The chart as a file that needs nothing else. It has its own ground, so that it can be read on any.
    pub fn file(&self) -> String {
        let title = escape(self.title);
        let mut svg = format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{title}"><style>{STYLE}</style><rect class="plot" width="{WIDTH}" height="{HEIGHT}" rx="8"/>"#
        );
        self.draw(&mut svg);
        svg.push_str("</svg>\n");
        svg
    }

    fn draw(&self, svg: &mut String) {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let across = Range::over(points().map(|point| point.0), self.across.scale);
        let up = Range::over(points().map(|point| point.1), self.up.scale);
        let x = |value| LEFT + across.place(value) * (WIDTH - LEFT - RIGHT);
        let y = |value| HEIGHT - BOTTOM - up.place(value) * (HEIGHT - TOP - BOTTOM);
        self.axes(svg, &across, &up, (&x, &y));
        let mut named = Vec::new();
        for (number, line) in self.lines.iter().enumerate() {
            let colour = number % COLOURS;
            let places: Vec<_> = line
                .points
                .iter()
                .map(|point| (x(point.0), y(point.1)))
                .collect();
            let path: Vec<_> = places
                .iter()
                .map(|(x, y)| format!("{x:.1},{y:.1}"))
                .collect();
            let _ = write!(
                svg,
                r#"<polyline class="line c{colour}" points="{}"/>"#,
                path.join(" ")
            );
            for ((x, y), label) in places.iter().zip(&line.labels) {
                let label = escape(label);
                let _ = write!(
                    svg,
                    r#"<circle class="point c{colour}" cx="{x:.1}" cy="{y:.1}" r="4" tabindex="0" role="img" aria-label="{label}"><title>{label}</title></circle>"#
                );
            }
            if let Some((_, y)) = places.last() {
                named.push((*y, colour, line.name.as_str()));
            }
        }
        names(svg, named);
    }

    fn axes(
        &self,
        svg: &mut String,
        across: &Range,
        up: &Range,
        (x, y): (&dyn Fn(f64) -> f64, &dyn Fn(f64) -> f64),
    ) {
        let (right, floor) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for (value, text) in self.up.shown(up) {
            let at = y(value);
            let _ = write!(
                svg,
                r#"<path class="grid" d="M{LEFT} {at:.1}H{right}"/><text class="tick end" x="{}" y="{:.1}">{}</text>"#,
                LEFT - 8.0,
                at + 4.0,
                escape(&text)
            );
        }
        for (value, text) in self.across.shown(across) {
            let at = x(value);
            let _ = write!(
                svg,
                r#"<path class="grid" d="M{at:.1} {floor}v5"/><text class="tick middle" x="{at:.1}" y="{}">{}</text>"#,
                floor + 19.0,
                escape(&text)
            );
        }
        let middle = (LEFT + right) / 2.0;
        let half = (TOP + floor) / 2.0;
        let _ = write!(
            svg,
            r#"<path class="axis" d="M{LEFT} {floor}H{right}"/><text class="name middle" x="{middle}" y="{}">{}</text><text class="name middle" transform="translate(14 {half}) rotate(-90)">{}</text>"#,
            HEIGHT - 6.0,
            escape(self.across.name),
            escape(self.up.name)
        );
    }
}

impl Axis {
    fn shown(&self, range: &Range) -> Vec<(f64, String)> {
        match self.ticks.is_empty() {
            true => range
                .ticks()
                .into_iter()
                .map(|tick| (tick, short(tick)))
                .collect(),
            false => self.ticks.clone(),
        }
    }
}

/// The names of the lines, each beside its end and none over another.
fn names(svg: &mut String, mut named: Vec<(f64, usize, &str)>) {
    named.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut above = f64::NEG_INFINITY;
    for (end, colour, name) in named {
        let y = end.max(above + NAME_HEIGHT);
        above = y;
        let x = WIDTH - RIGHT + 12.0;
        let name = escape(name);
        let _ = write!(
            svg,
            r#"<text class="name t{colour}" x="{x}" y="{:.1}">{name}</text>"#,
            y + 4.0
        );
    }
}

/// Text that may stand anywhere in the page.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A number with as many digits as are worth reading.
pub fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => {
            let digits = format!("{value:.0}");
            let mut text = String::new();
            for (at, digit) in digits.chars().enumerate() {
                let left = digits.len() - at;
                if at > 0 && left.is_multiple_of(3) && !text.ends_with('-') {
                    text.push(',');
                }
                text.push(digit);
            }
            text
        }
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        0.0 => "0".into(),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        let linear = Range::over([0.0, 9_100.0].into_iter(), Scale::Linear);
        assert_eq!(linear.ticks(), [0.0, 2000.0, 4000.0, 6000.0, 8000.0]);
        let logarithmic = Range::over([0.4, 12.0].into_iter(), Scale::Logarithmic);
        assert_eq!(logarithmic.ticks(), [0.5, 1.0, 2.0, 5.0, 10.0]);
        assert!((logarithmic.place(0.4), logarithmic.place(12.0)) == (0.0, 1.0));
    }

    #[test]
    fn nothing_gives_no_chart_and_text_is_escaped() {
        let axis = |scale| Axis {
            name: "a <b>",
            scale,
            ticks: Vec::new(),
        };
        let mut chart = Chart {
            name: "t",
            title: "t",
            across: axis(Scale::Logarithmic),
            up: axis(Scale::Linear),
            lines: Vec::new(),
        };
        assert!(!chart.has_points());
        chart.lines.push(Line {
            name: "x".into(),
            points: vec![(1.0, 0.0)],
            labels: vec!["\"1\"".into()],
        });
        let svg = chart.file();
        assert!(
            svg.contains("a &lt;b&gt;") && svg.contains("&quot;1&quot;"),
            "{svg}"
        );
        assert!(!svg.contains("NaN"), "{svg}");
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (1_234_567.0, "1,234,567"),
            (123.4, "123"),
            (12.34, "12.3"),
            (1.234, "1.23"),
            (0.0123, "0.012"),
            (0.0, "0"),
        ] {
            assert_eq!(short(value), text);
        }
    }
}
