//! The scene: named settings of several devices.

use std::collections::BTreeMap;

use hearthd_sdk::mqtt::{PublishError, Topics};
use hearthd_sdk::{Answer, Changes, Context, Device, Failure, Problems, Property};

use crate::config::SceneConfig;
use crate::round::{Ask, Rounds};

/// Named settings, each of several devices.
#[derive(Debug)]
pub struct Scene {
    scenes: BTreeMap<String, Vec<Ask>>,
    rounds: Rounds,
}

impl Device for Scene {
    const KIND: &'static str = "scene";
    type Config = SceneConfig;

    fn check(config: &SceneConfig, problems: &mut Problems) {
        config.check(problems);
    }

    fn properties(config: &SceneConfig) -> Vec<Property> {
        let names: Vec<&str> = config.scenes.keys().map(String::as_str).collect();
        vec![Property::choice(SCENE, &names).title("Scene").write_only().not_retained()]
    }

    fn topics(config: &SceneConfig) -> Topics {
        config.members().into_iter().fold(Topics::none(), Topics::ask)
    }

    fn create(
        config: SceneConfig,
        context: Context,
        _saved: Option<&[u8]>,
    ) -> Result<Self, Failure> {
        let scenes = config.scenes.into_iter().map(|(name, devices)| {
            let asks = devices.into_iter().map(|(device, values)| {
                Ask::set(&device, values.iter().map(|(name, value)| (name.as_str(), value.clone())))
            });
            (name, asks.collect())
        });
        Ok(Self { scenes: scenes.collect(), rounds: Rounds::new(context) })
    }

    fn set(&mut self, changes: &Changes) -> Result<Answer, Failure> {
        let asks = changes.text(SCENE).and_then(|name| self.scenes.get(name));
        let asks = asks.ok_or_else(|| Failure::invalid("there is no such scene"))?;
        Ok(self.rounds.begin(changes, asks.clone()))
    }

    fn outcome(&mut self, token: u64, result: Result<&[u8], PublishError>) {
        for complete in self.rounds.outcome(token, result) {
            complete.answer();
        }
    }
}

/// Its one property.
const SCENE: &str = "scene";
