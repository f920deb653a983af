//! Echoes every request; prints `ready` once it is subscribed.

use azure_iot_operations_mqtt::{
    control_packet::{QoS, RetainOptions, SubscribeProperties, TopicFilter},
    session::SessionManagedClient,
};
use azure_iot_operations_protocol::{
    application::ApplicationContextBuilder,
    common::payload_serialize::BypassPayload,
    rpc_command::{Executor, executor},
};
use azure_peer::{Arguments, Failure};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let mut arguments = Arguments::read(USAGE)?;
    let pattern = arguments.rest.pop_front().ok_or(USAGE)?;
    let session = arguments.session("azure-executor")?;
    let client = session.create_managed_client();
    let options = executor::OptionsBuilder::default()
        .request_topic_pattern(pattern)
        .command_name("set")
        .is_idempotent(true)
        .build()?;
    let context = ApplicationContextBuilder::default().build()?;
    let executor = Executor::new(context, session.create_managed_client(), options)?;
    tokio::select! {
        ended = answer(executor) => ended?,
        ended = say_ready(client) => ended?,
        ended = session.run() => ended?,
    }
    Ok(())
}

async fn answer(mut executor: Executor<BypassPayload, BypassPayload>) -> Result<(), Failure> {
    while let Some(request) = executor.recv().await {
        let request = request?;
        let payload = request.payload.clone();
        let response = executor::ResponseBuilder::default().payload(payload)?.build()?;
        request.complete(response).await?;
    }
    Ok(())
}

/// Subscribes after the executor: a session's packets leave in order, and are acknowledged in order.
async fn say_ready(client: SessionManagedClient) -> Result<(), Failure> {
    let filter = TopicFilter::new("azure/ready")?;
    let (retain, properties) = (RetainOptions::default(), SubscribeProperties::default());
    let subscribed = client.subscribe(filter, QoS::AtLeastOnce, false, retain, properties).await?;
    subscribed.await?;
    println!("ready");
    std::future::pending().await
}

const USAGE: &str = "usage: executor [--user NAME --password-file FILE] PORT PATTERN";
