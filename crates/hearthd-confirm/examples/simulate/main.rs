//! Plays many seeds, or one with a trace.

mod world;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().ok();
    match arguments[..] {
        ["--seed", seed] if number(seed).is_some() => {
            let played = world::play(number(seed).unwrap_or_default());
            for line in &played.trace {
                println!("{line}");
            }
            conclude(played.violation)
        }
        [seeds] if number(seeds).is_some() => {
            let mut reached = world::Reached::default();
            for seed in 0..number(seeds).unwrap_or_default() {
                let played = world::play(seed);
                if let Some(violation) = played.violation {
                    return conclude(Some(format!("seed {seed}: {violation}")));
                }
                reached.merge(&played.reached);
            }
            print!("{reached}");
            println!("not reached: {}", reached.unreached().join(", "));
            conclude(None)
        }
        _ => {
            eprintln!("usage: simulate SEEDS | simulate --seed SEED");
            ExitCode::from(2)
        }
    }
}

fn conclude(violation: Option<String>) -> ExitCode {
    match violation {
        None => {
            println!("every invariant held");
            ExitCode::SUCCESS
        }
        Some(violation) => {
            println!("{violation}");
            ExitCode::FAILURE
        }
    }
}
