//! One who watches the hub: sees its wills, acknowledges some of them, and hears what became of each.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

use super::{
    Stage,
    record::{Notebook, generation},
    steady::Steady,
};
use crate::{Access, Message, Result};

/// A watcher of one hub.
pub(super) struct Watcher {
    presence: String,
    absence: String,
    absences: String,
    client_id: String,
    steady: Steady,
    notebook: Arc<Notebook>,
}

impl Watcher {
    /// Connects and subscribes.
    pub(super) async fn connect(
        access: &Access,
        client_id: &str,
        notebook: Arc<Notebook>,
    ) -> Result<Self> {
        let presence = format!("alice/hub/{client_id}/presence");
        let absence = format!("alice/hub/{client_id}/absence");
        let absences = "alice/response/chaos-watcher/absences".to_owned();
        let filters = vec![presence.clone(), absence.clone(), absences.clone()];
        let steady = Steady::connect(access, "chaos-watcher", filters).await?;
        let client_id = client_id.to_owned();
        Ok(Self { presence, absence, absences, client_id, steady, notebook })
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
        let topic = format!("alice/cmnd/{}/absences", self.client_id);
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
        let (Some(topic), Some(data)) = (&message.response_topic, &message.correlation_data) else {
            return;
        };
        if message.text() != "offline" {
            return;
        }
        let generation = generation(data);
        let acknowledge = data.first().is_some_and(|byte| byte % 2 == 0);
        let now = self.notebook.now();
        let new = {
            let mut record = self.notebook.open();
            let will = record.wills.entry(generation.clone()).or_default();
            let new = will.watched.replace(will.watched.unwrap_or(now)).is_none();
            will.answered |= acknowledge;
            new
        };
        if !new || !acknowledge {
            return;
        }
        let answer = Message {
            correlation_data: Some(data.clone()),
            ..Message::new(topic.clone(), "took over").with_property("client_id", "chaos-watcher")
        };
        self.steady.publish(answer).await;
        let now = self.notebook.now();
        if let Some(will) = self.notebook.open().wills.get_mut(&generation) {
            will.acknowledged = Some(now);
        }
    }
}

/// How often it asks for the last outcomes.
const INQUIRY: Duration = Duration::from_secs(2);
/// How long it takes at most to notice that the stage has changed.
const LOOK_UP: Duration = Duration::from_millis(100);
