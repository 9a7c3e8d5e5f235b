//! The picture of a run as SVG. Above, how late calls are known, as curves; below, what a pair costs, as bars.

use anyhow::{Context as _, Result};
use plotters::chart::SeriesLabelPosition;
use plotters::coord::Shift;
use plotters::prelude::*;

use super::numbers::{median, percentile, sorted};
use super::record::{Run, Watcher};
use super::report::{self, Metric};

const SIZE: (u32, u32) = (1000, 920);
const CURVES_HEIGHT: u32 = 520;
/// Curves end here, so that one outlier does not press them together.
const SHOWN_PERCENT: usize = 99;
/// Points of a curve: more cannot be told apart.
const POINTS: usize = 400;
const FONT: &str = "sans-serif";

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The whole picture.
pub(super) fn svg(run: &Run) -> Result<String> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let (curves_area, bars_area) = root.split_vertically(CURVES_HEIGHT);
        curves(&curves_area, run).context("drawing the curves")?;
        let (left, right) = bars_area.split_horizontally(SIZE.0 / 2);
        bars(&left, run, "a pair in a burst: time / pairs", report::burst).context("drawing the left bars")?;
        bars(&right, run, "a pair with pauses: median", report::paced).context("drawing the right bars")?;
        root.present()?;
    }
    Ok(text)
}

fn colour(watcher: Watcher) -> RGBColor {
    match watcher {
        Watcher::Nobody => RGBColor(140, 140, 140),
        Watcher::Floor => RGBColor(40, 40, 40),
        Watcher::Trace => RGBColor(0, 114, 178),
        Watcher::TracePipe => RGBColor(86, 160, 220),
        Watcher::Agent => RGBColor(0, 140, 100),
        Watcher::Mountsnoop => RGBColor(213, 94, 0),
    }
}

/// Those who were told of calls, and how late, in rising order.
fn distributions(run: &Run) -> Vec<(Watcher, Vec<f64>)> {
    let of = |watcher| {
        let all = run.measurements.iter().filter(|one| one.watcher == watcher).flat_map(|one| &one.seen_paced);
        (watcher, sorted(&all.copied().collect::<Vec<_>>()))
    };
    Watcher::ALL.into_iter().map(of).filter(|(_, seen)| !seen.is_empty()).collect()
}

/// (time, share of the calls that were known by then)
fn curve(seen: &[f64]) -> Vec<(f64, f64)> {
    let count = u32::try_from(seen.len()).unwrap_or(u32::MAX);
    let points = (1_u32..).zip(seen).map(|(rank, value)| (*value, f64::from(rank) / f64::from(count)));
    points.step_by(seen.len().div_ceil(POINTS).max(1)).collect()
}

fn curves(area: &Area<'_>, run: &Run) -> Result<()> {
    let all = distributions(run);
    let least = all.iter().filter_map(|(_, seen)| seen.iter().copied().find(|value| *value > 0.0)).fold(1e9, f64::min);
    let most = all.iter().filter_map(|(_, seen)| percentile(seen, SHOWN_PERCENT)).fold(0.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(format!("How late is a mount known? Linux {}", run.place.release), (FONT, 22))
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d((least.min(most / 2.0)..most).log_scale(), 0.0..1.0)?;
    chart
        .configure_mesh()
        .x_desc("microseconds after the call's end in the kernel (emulated; logarithmic)")
        .y_desc("share of calls known by then")
        .x_labels(12)
        .y_max_light_lines(0)
        .x_label_formatter(&|value| format!("{value:.0}"))
        .y_label_formatter(&|value| format!("{:.0} %", 100.0 * value))
        .label_style((FONT, 15))
        .draw()?;
    for (watcher, seen) in &all {
        let colour = colour(*watcher);
        let shown = curve(seen).into_iter().filter(|(value, _)| *value <= most);
        chart
            .draw_series(LineSeries::new(shown, colour.stroke_width(3)))?
            .label(format!("{} (median {:.0} us)", watcher.name(), median(seen).unwrap_or_default()))
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 24, y)], colour.stroke_width(3)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE)
        .border_style(RGBColor(200, 200, 200))
        .legend_area_size(36)
        .label_font((FONT, 16))
        .draw()?;
    Ok(())
}

/// What a pair costs under one watcher: the same figures as in the table.
struct Bar {
    watcher: Watcher,
    value: f64,
    ratio: f64,
}

impl Bar {
    fn of(run: &Run, watcher: Watcher, metric: Metric) -> Option<Self> {
        let value = median(&report::per_round(run, watcher, metric))?;
        Some(Self { watcher, value, ratio: report::ratio(run, watcher, Watcher::Nobody, metric)? })
    }
}

/// A bar for each watcher, from the top; its name above it, its time behind it.
fn bars(area: &Area<'_>, run: &Run, title: &str, metric: Metric) -> Result<()> {
    let values: Vec<Bar> = Watcher::ALL.into_iter().filter_map(|watcher| Bar::of(run, watcher, metric)).collect();
    let most = values.iter().map(|bar| bar.value).fold(0.0, f64::max);
    let height = f64::from(u32::try_from(values.len()).unwrap_or_default());
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 18))
        .margin(16)
        .x_label_area_size(36)
        .build_cartesian_2d(0.0..most * 1.3, 0.0..height)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_desc("microseconds (emulated)")
        .x_labels(6)
        .x_label_formatter(&|value| format!("{value:.0}"))
        .max_light_lines(0)
        .label_style((FONT, 14))
        .draw()?;
    for (row, Bar { watcher, value, ratio }) in (1_u32..).zip(&values) {
        let bottom = height - f64::from(row);
        let bar = Rectangle::new([(0.0, bottom + 0.08), (*value, bottom + 0.5)], colour(*watcher).filled());
        let name = Text::new(watcher.name().to_owned(), (0.0, bottom + 0.92), (FONT, 14));
        let time = format!("{value:.0} us, x {ratio:.2}");
        let time = Text::new(time, (value + most * 0.015, bottom + 0.46), (FONT, 14));
        chart.draw_series([bar])?;
        chart.draw_series([name, time])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_ends_with_all_calls() {
        let curve = curve(&[1.0, 2.0, 4.0, 8.0]);
        assert_eq!(curve.len(), 4);
        assert!((curve[1].0 - 2.0).abs() < 1e-9 && (curve[1].1 - 0.5).abs() < 1e-9);
        assert!((curve[3].1 - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_long_curve_is_thinned() {
        let seen: Vec<f64> = (0..10_000).map(f64::from).collect();
        assert!(curve(&seen).len() <= POINTS);
    }
}
