//! `hearthd metrics`: what the hub has counted, for Prometheus.

use hearthd_tests::{AskedHub, Built, Result};

#[tokio::test]
async fn requests_devices_and_temperatures_are_counted_and_a_hub_that_is_away_is_told_of()
-> Result<()> {
    let built = Built::for_this_test()?;
    let folder = tempfile::tempdir()?;
    let mut asked = AskedHub::start(&built, folder.path(), &["ON", "OFF", "nonsense"]).await?;
    let hub = &mut asked.hub;
    let said = hub.command(&["metrics"]).await?;
    assert_eq!(said.code, Some(0), "{said:?}");
    for line in [
        "hearthd_up 1",
        "hearthd_broker_connected 1",
        "hearthd_broker_connections_total 1",
        "hearthd_devices{status=\"ready\"} 2",
        "hearthd_device_ready{device=\"living-room\"} 1",
        "hearthd_requests_total{device=\"light-in-bedroom\",status=\"200\"} 2",
        "hearthd_requests_total{device=\"light-in-bedroom\",status=\"400\"} 1",
        "hearthd_request_duration_seconds_count{device=\"light-in-bedroom\"} 3",
    ] {
        assert!(said.stdout.lines().any(|it| it == line), "{line} is missing in\n{}", said.stdout);
    }
    let temperature =
        "hearthd_temperature_celsius{device=\"living-room\",property=\"current_temperature\"} ";
    assert!(said.stdout.contains(temperature), "{}", said.stdout);

    // The file is replaced, also by what is left to say once the hub is gone.
    let file = folder.path().join("hearthd.prom");
    let written = file.display().to_string();
    let said = hub.command(&["metrics", "--output", &written]).await?;
    assert_eq!((said.code, &*said.stdout), (Some(0), ""), "{said:?}");
    assert!(std::fs::read_to_string(&file)?.contains("hearthd_up 1\n"));
    hub.terminate().await?;
    let said = hub.command(&["metrics", "--output", &written]).await?;
    assert_eq!(said.code, Some(69), "{said:?}");
    let left = std::fs::read_to_string(&file)?;
    assert!(left.ends_with("hearthd_up 0\n") && left.lines().count() == 3, "{left}");
    Ok(())
}
