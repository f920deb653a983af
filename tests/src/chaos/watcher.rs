//! One who watches the hub: sees its wills, acknowledges some of them, and hears what became of each.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

use super::{
    Stage,
    plan::{FORGED, Hub, request, under},
    record::{Notebook, key},
    steady::Steady,
};
use crate::{Access, Message, Result};

/// A watcher of one hub.
pub(super) struct Watcher {
    hub: Hub,
    name: String,
    presence: String,
    absence: String,
    absences: String,
    steady: Steady,
    notebook: Arc<Notebook>,
}

impl Watcher {
    /// Connects and subscribes.
    pub(super) async fn connect(
        access: &Access,
        hub: Hub,
        notebook: Arc<Notebook>,
    ) -> Result<Self> {
        let name = format!("chaos-watcher-{}", hub.name());
        let (presence, absence) = (hub.presence(), hub.absence());
        let absences = under(&format!("response/{name}/absences"));
        let filters = vec![presence.clone(), absence.clone(), absences.clone()];
        let steady = Steady::connect(access, &name, filters).await?;
        Ok(Self { hub, name, presence, absence, absences, steady, notebook })
    }

    /// Watches until the run is over.
    pub(super) async fn run(mut self, stage: watch::Receiver<Stage>) {
        let mut inquiry = Instant::now();
        while *stage.borrow() != Stage::Over {
            if inquiry <= Instant::now() {
                self.inquire().await;
                inquiry = Instant::now() + INQUIRY;
            }
            let look_up = Instant::now() + LOOK_UP;
            if let Some(message) = self.steady.next_before(look_up).await {
                self.on_message(&message).await;
            }
        }
    }

    /// Asks for the last outcomes: the retained one alone would miss some.
    async fn inquire(&mut self) {
        let data = format!("absences at {:?}", self.notebook.now());
        let topic = request(self.hub.client_id(), "absences");
        let request = Message::new(topic, "").respond_to(&self.absences, data);
        self.steady.publish(request).await;
    }

    async fn on_message(&mut self, message: &Message) {
        if message.topic == self.presence {
            return self.on_presence(message).await;
        }
        let Ok(told) = message.json() else { return };
        let mut record = self.notebook.open();
        if message.topic == self.absence {
            record.told(&told);
        } else if let Some(list) = told.as_array() {
            list.iter().for_each(|absence| record.told(absence));
        }
    }

    async fn on_presence(&mut self, message: &Message) {
        let (Some(topic), Some(generation)) = (&message.response_topic, key(message)) else {
            return;
        };
        if message.text() != "offline" || message.property(FORGED).is_some() {
            return;
        }
        let acknowledge = generation.as_bytes().first().is_some_and(|byte| byte % 2 == 0);
        let now = self.notebook.now();
        let new = {
            let mut record = self.notebook.open();
            if acknowledge {
                record.acknowledges(&generation);
            }
            let will = record.wills.entry(generation.clone()).or_default();
            will.watched.replace(will.watched.unwrap_or(now)).is_none()
        };
        if !new || !acknowledge {
            return;
        }
        let answer = Message {
            correlation_data: message.correlation_data.clone(),
            ..Message::new(topic.clone(), "took over").with_property("client_id", &self.name)
        };
        self.steady.publish(answer).await;
        let now = self.notebook.now();
        self.notebook.open().acknowledged(&generation, now);
    }
}

/// How often it asks for the last outcomes.
const INQUIRY: Duration = Duration::from_secs(2);
/// How long it takes at most to notice that the stage has changed.
const LOOK_UP: Duration = Duration::from_millis(100);
