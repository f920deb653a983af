//! Asks a responder as fast as it answers, and is the bare responders to compare one with.

mod ask;
mod connection;
mod echo;
mod echo_rumqttc;
mod fan_out;
mod packet;

use std::{io, process::ExitCode};

use clap::{Args, Parser, Subcommand};

/// A measuring tool for request and response over MQTT 5.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Keep requests in flight for a while, and print what came of them as one line of JSON.
    Ask(ask::Options),
    /// Publish to many subscribers, and print how many messages reached them as one line of JSON.
    FanOut(fan_out::Options),
    /// Answer every request with its own payload, over a bare socket.
    Echo(EchoOptions),
    /// Answer every request with its own payload, through rumqttc as it comes.
    EchoRumqttc(EchoOptions),
}

/// Where the broker is, and how to get in.
#[derive(Clone, Debug, Args)]
struct Access {
    /// The broker's port on this machine.
    #[arg(long)]
    port: u16,
    /// User name; without one nobody logs in.
    #[arg(long)]
    user: Option<String>,
    /// The user's password.
    #[arg(long, default_value = "")]
    password: String,
}

/// What an echo answers.
#[derive(Clone, Debug, Args)]
struct EchoOptions {
    #[command(flatten)]
    access: Access,
    /// The requests' topic filter.
    #[arg(long)]
    filter: String,
    /// Have the broker keep the session, and what is in flight to it, as a hub does; a bare socket only.
    #[arg(long)]
    keep_session: bool,
}

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.and_then(|runtime| {
        runtime.block_on(async {
            match command {
                Command::Ask(options) => ask::ask(options).await,
                Command::FanOut(options) => fan_out::fan_out(options).await,
                Command::Echo(options) => echo::echo(&options).await,
                Command::EchoRumqttc(options) => echo_rumqttc::echo(options).await,
            }
        })
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hearthd-load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn wrong(what: impl Into<String>) -> io::Error {
    io::Error::other(what.into())
}

/// Says to whoever started this process that requests may come.
fn announce_ready() {
    println!("ready");
}
