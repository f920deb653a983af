//! The group: several devices with the same properties.

use hearthd_sdk::mqtt::{PublishError, Topics};
use hearthd_sdk::{Answer, Changes, Context, Device, Failure, Problems, Property};

use crate::config::GroupConfig;
use crate::round::{Ask, Rounds};

/// Several devices that are set together.
#[derive(Debug)]
pub struct Group {
    members: Vec<String>,
    rounds: Rounds,
}

impl Device for Group {
    const KIND: &'static str = "group";
    type Config = GroupConfig;

    fn check(config: &GroupConfig, problems: &mut Problems) {
        config.check(problems);
    }

    fn properties(config: &GroupConfig) -> Vec<Property> {
        config.declarations()
    }

    fn topics(config: &GroupConfig) -> Topics {
        config.members.iter().fold(Topics::none(), Topics::ask)
    }

    fn create(
        config: GroupConfig,
        context: Context,
        _saved: Option<&[u8]>,
    ) -> Result<Self, Failure> {
        Ok(Self { members: config.members, rounds: Rounds::new(context) })
    }

    fn set(&mut self, changes: &Changes) -> Result<Answer, Failure> {
        let values = || changes.iter().map(|(name, value)| (name, value.to_json()));
        let asks = self.members.iter().map(|member| Ask::set(member, values())).collect();
        Ok(self.rounds.begin(changes, asks))
    }

    fn outcome(&mut self, token: u64, result: Result<&[u8], PublishError>) {
        self.rounds.outcome(token, result);
    }
}
