//! The group: several devices with the same properties.

use hearthd_sdk::mqtt::{Message, PublishError, Topics};
use hearthd_sdk::{Answer, Changes, Context, Device, Failure, Problems, Property};

use crate::config::GroupConfig;
use crate::members::{Members, agreement};
use crate::round::{Ask, Rounds};

/// Several devices that are set together, and tell together how they are.
#[derive(Debug)]
pub struct Group {
    members: Members,
    rounds: Rounds,
}

impl Device for Group {
    const KIND: &'static str = "group";
    type Config = GroupConfig;

    fn check(config: &GroupConfig, problems: &mut Problems) {
        config.check(problems);
    }

    fn properties(config: &GroupConfig) -> Vec<Property> {
        let mut properties = config.declarations();
        properties.push(agreement());
        properties
    }

    fn topics(config: &GroupConfig) -> Topics {
        let properties: Vec<_> = config.properties.keys().collect();
        config.members.iter().fold(Topics::none(), |topics, member| {
            let follow = |topics: Topics, property: &&String| topics.follow(member, property);
            properties.iter().fold(topics.ask(member), follow)
        })
    }

    fn create(
        config: GroupConfig,
        context: Context,
        _saved: Option<&[u8]>,
    ) -> Result<Self, Failure> {
        let properties = config.declarations();
        let members = Members::new(context.clone(), config.members, properties);
        Ok(Self { members, rounds: Rounds::new(context) })
    }

    fn set(&mut self, changes: &Changes) -> Result<Answer, Failure> {
        let values = || changes.iter().map(|(name, value)| (name, value.to_json()));
        let asks = self.members.names().iter().map(|member| Ask::set(member, values())).collect();
        Ok(self.rounds.begin(changes, asks))
    }

    fn message(&mut self, message: &Message) {
        self.members.hear(&message.topic, &message.payload);
    }

    fn outcome(&mut self, token: u64, result: Result<&[u8], PublishError>) {
        for complete in self.rounds.outcome(token, result) {
            // Before the answer, which tells it.
            self.members.take_answers(&complete.changes, &complete.told);
            complete.answer();
        }
    }
}
