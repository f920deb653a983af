//! The device in the list that Zigbee2MQTT publishes on `bridge/devices`.

use serde_json::Value as Json;

use crate::family::zcl;

/// The device in the list.
#[derive(Clone, Debug)]
pub(super) enum Listed {
    /// The list has not arrived yet.
    Unknown,
    /// The list does not have the device.
    Missing,
    Here(Entry),
}

/// An entry of the list.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) ieee_address: String,
    /// The address changes when the device joins again.
    pub(super) network_address: u64,
    /// The endpoints, each with the clusters that it takes commands for.
    endpoints: Vec<(u8, Vec<String>)>,
    /// The names of the device's properties, with their ranges.
    pub(super) features: Vec<Feature>,
}

#[derive(Clone, Debug)]
pub(super) struct Feature {
    pub(super) property: String,
    pub(super) min: Option<f64>,
    pub(super) max: Option<f64>,
}

impl Entry {
    pub(super) fn read(device: &Json) -> Option<Self> {
        let clusters = |endpoint: &Json| -> Vec<String> {
            let input = endpoint.pointer("/clusters/input").and_then(Json::as_array);
            let names = input.into_iter().flatten();
            names.filter_map(|name| name.as_str().map(str::to_owned)).collect()
        };
        let mut features = Vec::new();
        if let Some(exposes) = device.pointer("/definition/exposes") {
            Feature::collect(exposes, &mut features);
        }
        let mut endpoints: Vec<(u8, Vec<String>)> = device
            .get("endpoints")
            .and_then(Json::as_object)
            .into_iter()
            .flatten()
            .filter_map(|(id, endpoint)| Some((id.parse().ok()?, clusters(endpoint))))
            .collect();
        endpoints.sort();
        Some(Self {
            ieee_address: device.get("ieee_address")?.as_str()?.to_owned(),
            network_address: device.get("network_address")?.as_u64()?,
            endpoints,
            features,
        })
    }

    /// Returns the first endpoint that has a cluster.
    pub(super) fn endpoint(&self, cluster: zcl::Cluster) -> u8 {
        let has = |(_, clusters): &&(u8, Vec<String>)| clusters.iter().any(|c| c == cluster.key());
        self.endpoints.iter().find(has).or(self.endpoints.first()).map_or(1, |(id, _)| *id)
    }
}

impl Feature {
    fn collect(exposes: &Json, features: &mut Vec<Self>) {
        for expose in exposes.as_array().into_iter().flatten() {
            if let Some(property) = expose.get("property").and_then(Json::as_str) {
                features.push(Self {
                    property: property.to_owned(),
                    min: expose.get("value_min").and_then(Json::as_f64),
                    max: expose.get("value_max").and_then(Json::as_f64),
                });
            }
            if let Some(inner) = expose.get("features")
                && expose.get("property").is_none()
            {
                Self::collect(inner, features);
            }
        }
    }
}
