//! From a device's answer to the response that the broker has.

use std::time::Duration;

use super::Hub;
use crate::{
    Answer, DeliveryId, Notice, Now, PublishId, RequestId, Status,
    outbox::Kind,
    requests::{Pending, Reply},
};

impl Hub {
    pub(super) fn on_answered(&mut self, now: Now, id: RequestId, answer: Answer) {
        match self.requests.remove(id) {
            Some(pending) => self.finish(now, &pending, &answer),
            None => self.notice(Notice::LateAnswer { request: id }),
        }
    }

    pub(super) fn time_out(&mut self, now: Now, id: RequestId) {
        let Some(pending) = self.requests.remove(id) else { return };
        let allowed = pending.deadline.saturating_sub(pending.arrived).as_millis();
        let text = format!("`{}` did not answer within {allowed} ms", pending.device);
        let answer = Answer::failure(Status::Timeout, text);
        self.finish(now, &pending, &answer);
    }

    /// Sends the first answer again; the request is not executed twice.
    pub(super) fn answer_again(
        &mut self,
        reply: Reply,
        answer: &Answer,
        publish: Option<PublishId>,
        delivery: Option<DeliveryId>,
    ) {
        if let (Some(publish), Some(delivery)) = (publish, delivery)
            && self.outbox.attach(publish, delivery)
        {
            return;
        }
        self.publish_response(&reply, answer);
    }

    /// Sends the answer to a request that goes no further, or has come back.
    pub(super) fn respond(
        &mut self,
        now: Now,
        reply: &Reply,
        answer: &Answer,
        device: &str,
        property: &str,
        arrived: Duration,
    ) {
        self.notice(Notice::RequestAnswered {
            device: device.to_owned(),
            property: property.to_owned(),
            status: answer.status.code(),
            elapsed: now.monotonic - arrived,
        });
        let publish = self.publish_response(reply, answer);
        self.requests.answered(reply, answer, publish);
    }

    fn finish(&mut self, now: Now, pending: &Pending, answer: &Answer) {
        let Pending { device, property, arrived, reply, .. } = pending;
        self.respond(now, reply, answer, device, property, *arrived);
    }

    fn publish_response(&mut self, reply: &Reply, answer: &Answer) -> Option<PublishId> {
        let Some(response) = reply.response(answer) else {
            self.finish_deliveries(Kind::Response(reply.deliveries.clone()));
            return None;
        };
        let kind = Kind::Response(reply.deliveries.clone());
        let sent = self.send(response, kind.clone(), reply.expires);
        if sent.is_none() {
            self.finish_deliveries(kind);
        }
        sent
    }
}
