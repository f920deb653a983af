//! The login queue under those who try passwords.

use std::time::{Duration, Instant};

use crate::{
    broker::Broker,
    raw::{Raw, connect},
};

#[test]
fn four_hundred_wrong_logins_do_not_keep_a_right_one_waiting() {
    let broker = Broker::start();
    let wrong: Vec<Raw> = (0..400)
        .map(|number| {
            let mut raw = broker.raw();
            let account = if number % 2 == 0 { "hub" } else { "nobody" };
            // Some find no place at all.
            let _ = raw.try_send(&connect("guess", account, &format!("guess {number}"), 0));
            raw
        })
        .collect();
    let mut longest = Duration::ZERO;
    for account in ["anna", "anna", "hub", "old"] {
        let begin = Instant::now();
        // Those of one address that are not logged in have a bound; whoever is refused a place comes again.
        loop {
            let mut raw = broker.raw();
            let sent = raw.try_send(&connect("right", account, "secret", 0));
            if let (Ok(()), Ok((_, body))) = (sent, raw.receive()) {
                assert_eq!(body[1], 0, "{account}");
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        longest = longest.max(begin.elapsed());
    }
    println!("the longest of the right logins took {longest:?}");
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    // Argon2 takes 19 MiB for each check.
    assert!(broker.peak() < 40 * 1024, "{} KiB: more than one check at a time", broker.peak());
    drop(wrong);
}

#[test]
fn a_refusal_tells_nobody_which_accounts_there_are() {
    let broker = Broker::start();
    let mut answers = Vec::new();
    for (account, password) in [("anna", "wrong"), ("nobody", "wrong"), ("", "")] {
        let mut raw = broker.raw();
        raw.send(&connect("x", account, password, 0));
        answers.push(raw.expect(0x20));
    }
    assert_eq!(answers[0][1], 0x86);
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
}
