//! Sends each payload as a request, and prints what comes back.

use std::time::Duration;

use azure_iot_operations_protocol::{
    application::ApplicationContextBuilder,
    common::payload_serialize::{BypassPayload, FormatIndicator},
    rpc_command::{Invoker, invoker},
};
use azure_peer::{Arguments, Failure};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let mut arguments = Arguments::read(USAGE)?;
    let mut topic = || arguments.rest.pop_front().ok_or(USAGE);
    let (request, response) = (topic()?, topic()?);
    let session = arguments.session("azure-invoker")?;
    let options = invoker::OptionsBuilder::default()
        .request_topic_pattern(request)
        .response_topic_pattern(response)
        .command_name("set")
        .build()?;
    let context = ApplicationContextBuilder::default().build()?;
    let invoker = Invoker::new(context, session.create_managed_client(), options)?;
    tokio::select! {
        ended = ask(invoker, arguments.rest) => ended,
        ended = session.run() => Ok(ended?),
    }
}

async fn ask(
    invoker: Invoker<BypassPayload, BypassPayload>,
    payloads: impl IntoIterator<Item = String>,
) -> Result<(), Failure> {
    for payload in payloads {
        let payload = BypassPayload {
            content_type: "text/plain".into(),
            format_indicator: FormatIndicator::Utf8EncodedCharacterData,
            payload: payload.into_bytes(),
        };
        let request =
            invoker::RequestBuilder::default().payload(payload)?.timeout(TIMEOUT).build()?;
        match invoker.invoke(request).await {
            Ok(response) => {
                println!("answered {}", String::from_utf8_lossy(&response.payload.payload));
            }
            Err(error) => println!("failed {:?}: {error}", error.kind),
        }
    }
    Ok(())
}

/// Becomes the Message Expiry Interval of a request.
const TIMEOUT: Duration = Duration::from_secs(10);
const USAGE: &str = "usage: invoker [--user NAME --password-file FILE] PORT REQUEST_TOPIC RESPONSE_TOPIC PAYLOAD...";
