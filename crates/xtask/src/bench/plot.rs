//! The plots, as SVG.

use std::{
    fmt::Display,
    path::{Path, PathBuf},
};

use hearthd_tests::{Doing, Result};
use plotters::prelude::*;

use super::{
    cells::{Cell, Compared},
    crowd::Crowd,
    footprint::Footprint,
    growth::Growth,
    median,
    stage::{BrokerKind, Responder},
};

/// Draws what devices and queued requests cost.
pub(crate) fn growth(growth: &Growth, folder: &Path) -> Result<Vec<PathBuf>> {
    let of_devices = |value: fn(&super::growth::Devices) -> f64| -> Vec<_> {
        growth.devices.iter().map(|each| (each.count as f64, value(each))).collect()
    };
    let of_queue = |value: fn(&super::growth::Queued) -> Option<f64>| -> Vec<_> {
        let points = growth.queued.iter().map(|each| Some((each.count as f64, value(each)?)));
        points.flatten().collect()
    };
    let of_pages = |value: fn(&Crowd) -> f64| -> Vec<_> {
        growth.crowds.iter().map(|each| (each.pages as f64, value(each))).collect()
    };
    [
        (
            "devices-memory",
            "devices",
            "resident MiB",
            of_devices(|e| e.resident_kb as f64 / 1024.0),
        ),
        ("devices-start", "devices", "ms to `online`", of_devices(|e| e.start_ms)),
        ("devices-latency", "devices", "median latency in us", of_devices(|e| e.median_us)),
        (
            "queued-memory",
            "requests queued",
            "peak MiB",
            of_queue(|e| Some(e.peak_kb as f64 / 1024.0)),
        ),
        (
            "queued-answered",
            "requests queued",
            "ms to the last answer",
            of_queue(|e| e.answered_ms),
        ),
        ("pages-memory", "pages open", "MiB of hearth-web", of_pages(|e| e.web_kb as f64 / 1024.0)),
        ("pages-shown", "pages open", "ms until all show all", of_pages(|e| e.shown_ms)),
        ("pages-known", "pages open", "ms until all know of a tap", of_pages(|e| e.known_ms)),
        ("pages-latency", "pages open", "median latency in us", of_pages(|e| e.median_us)),
    ]
    .into_iter()
    .map(|(name, x, y, points)| lines(&folder.join(format!("{name}.svg")), x, y, &[(y, points)]))
    .collect()
}

/// Draws throughput over requests in flight, on Mosquitto.
pub(crate) fn throughput(compared: &Compared, folder: &Path) -> Result<PathBuf> {
    let series: Vec<_> = Responder::ALL
        .iter()
        .map(|&responder| {
            let points = [1, 16, 256].map(|in_flight| {
                let cell = Cell { in_flight, ..Cell::FULL };
                let each = compared.each(BrokerKind::Mosquitto, cell, responder, |f| f.per_second);
                (in_flight as f64, median(each))
            });
            (responder.name(), points.to_vec())
        })
        .collect();
    lines(&folder.join("throughput.svg"), "requests in flight", "answers per second", &series)
}

/// Draws the memory over the requests answered.
pub(crate) fn memory(footprint: &Footprint, folder: &Path) -> Result<PathBuf> {
    let points = footprint.after.iter().map(|(n, kb)| (*n as f64, *kb as f64 / 1024.0)).collect();
    let (x, y) = ("requests answered", "resident MiB");
    lines(&folder.join("requests-memory.svg"), x, y, &[(y, points)])
}

fn lines(file: &Path, x: &str, y: &str, series: &[(&str, Vec<(f64, f64)>)]) -> Result<PathBuf> {
    draw(file, x, y, series).map_err(|error| error.to_string()).doing(file.display())?;
    Ok(file.to_owned())
}

fn draw(
    file: &Path,
    x: &str,
    y: &str,
    series: &[(&str, Vec<(f64, f64)>)],
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let points = || series.iter().flat_map(|(_, points)| points);
    let widest = points().map(|(x, _)| *x).fold(1.0, f64::max);
    let highest = points().map(|(_, y)| *y).fold(1.0, f64::max);
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..widest * 1.02, 0.0..highest * 1.1)?;
    chart
        .configure_mesh()
        .x_desc(x)
        .y_desc(y)
        .x_label_formatter(&whole)
        .y_label_formatter(&whole)
        .draw()?;
    for (index, (name, points)) in series.iter().enumerate() {
        let colour = Palette99::pick(index).to_rgba();
        chart
            .draw_series(
                LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3),
            )?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    if series.len() > 1 {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK)
            .draw()?;
    }
    area.present()?;
    Ok(())
}

fn whole(value: &f64) -> String {
    fn text(value: impl Display) -> String {
        value.to_string()
    }
    if *value < 10.0 && value.fract() != 0.0 { format!("{value:.1}") } else { text(value.round()) }
}

const SIZE: (u32, u32) = (720, 360);
