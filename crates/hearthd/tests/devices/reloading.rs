//! From one configuration to another, with requests on their way.

use std::{fs, io::Write};

use hearthd::device::Difference;

use crate::{built::find, rogue::House, test_devices::said};

fn table(id: &str, isolation: &str, mark: i64) -> String {
    format!(
        "[devices.{id}]\nplugin = \"rogue\"\nisolation = \"{isolation}\"\nconfig.mark = {mark}\n"
    )
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn devices_are_added_changed_and_removed_and_the_others_notice_nothing() {
    let three = table("a", "none", 1) + &table("b", "process", 1) + &table("c", "none", 1);
    let mut house = House::start(&three);
    for device in ["a", "b", "c"] {
        assert_eq!(house.ask(&format!("{device}/count"), "1"), "200 1");
        house.wait_for_event(&format!("state {device}/count: 1"));
    }
    house.take_trace();
    let other = table("a", "none", 1) + &table("b", "none", 2) + &table("d", "process", 3);
    let difference = house.reload_with(&other).unwrap();
    let expected = Difference {
        added: names(&["d"]),
        removed: names(&["c"]),
        changed: names(&["b"]),
        restarted: Vec::new(),
    };
    assert_eq!(difference, expected);
    assert_eq!(house.ask("b/mark", ""), "200 2");
    assert_eq!(house.ask("b/count", "1"), "200 2", "what it saved came along");
    house.ask_until("d/mark", "", "200 3");
    assert_eq!(house.ask("c/count", ""), "404 there is no device `c`");
    let trace = house.take_trace();
    assert!(!trace.iter().any(|event| event.starts_with("state a/")), "{trace:#?}");
    assert_eq!(house.reload().unwrap(), Difference::default(), "nothing is different now");
}

#[test]
fn a_removed_device_remembers_when_it_comes_back() {
    let mut house = House::start(&(table("a", "process", 1) + &table("b", "none", 1)));
    assert_eq!(house.ask("a/count", "1"), "200 1");
    house.wait_for_event("saved a: 1");
    house.reload_with(&table("b", "none", 1)).unwrap();
    let difference = house.reload_with(&(table("a", "process", 1) + &table("b", "none", 1)));
    assert_eq!(difference.unwrap().added, ["a"]);
    house.ask_until("a/count", "1", "200 2");
}

#[test]
fn a_property_that_a_device_has_no_more_is_unknown() {
    let mut house = House::start(&(table("a", "process", 1) + "config.more = true\n"));
    assert_eq!(house.reload_with(&table("a", "process", 1)).unwrap().changed, ["a"]);
    assert!(house.ask("a/more", "").starts_with("404"));
    assert_eq!(house.ask("a/mark", ""), "200 1");
}

#[test]
fn no_request_is_lost_or_executed_twice_while_the_plugin_is_replaced_thirty_times() {
    for isolation in ["none", "auto", "process"] {
        let mut house = House::start(&table("a", isolation, 1));
        let mut ids = Vec::new();
        for round in 0..30 {
            ids.extend((0..5).map(|_| house.send("a/count", "1")));
            // As a new build would be: another file with the same properties.
            let mut new = fs::read(house.plugin()).unwrap();
            new.push(round);
            replace(&house, &new);
            assert_eq!(house.reload().unwrap().changed, ["a"]);
            ids.extend((0..5).map(|_| house.send("a/count", "1")));
            if ids.len() % 60 == 0 {
                let last = *ids.last().unwrap();
                house.answer(last);
            }
        }
        let answers: Vec<_> = ids.into_iter().map(|id| said(&house.answer(id))).collect();
        let expected: Vec<_> = (1..=300).map(|n| format!("200 {n}")).collect();
        assert_eq!(answers, expected, "{isolation}");
    }
}

#[test]
fn a_bad_configuration_or_plugin_leaves_all_as_it_was_and_says_why() {
    let good = table("a", "none", 1) + &table("b", "process", 1);
    let mut house = House::start(&good);
    let whole = fs::read(house.plugin()).unwrap();
    let cut = &whole[..whole.len() / 2];
    for (devices, plugin, why) in [
        (good.clone() + "nonsense = 1\n", &whole[..], "devices.b.nonsense: unknown key"),
        (
            table("a", "none", 2) + "config.extra = 1\n",
            &whole,
            "devices.a.config.extra: unknown field `extra`",
        ),
        (good.clone() + "config.declare_status = true\n", &whole, "`status` is taken"),
        (good.clone() + "config.describe = \"abort\"\n", &whole, "signal: 6 (SIGABRT)"),
        (good.replace("\"rogue\"", "\"tame\""), &whole, "no plugin provides `tame`"),
        (good.clone(), cut, "truncated"),
        (good.clone(), b"text", "not an ELF shared object"),
    ] {
        replace(&house, plugin);
        let said = house.reload_with(&devices).unwrap_err();
        assert!(said.contains(why), "{said}");
        let checked = house.check().unwrap_err();
        assert_eq!(checked, said, "hearthd check says the same");
        for device in ["a", "b"] {
            assert_eq!(house.ask(&format!("{device}/mark"), ""), "200 1");
            assert!(house.ask(&format!("{device}/count"), "1").starts_with("200"));
        }
    }
    replace(&house, &whole);
    assert_eq!(house.reload_with(&good).unwrap(), Difference::default());
    house.check().unwrap();
}

#[test]
fn a_new_plugin_that_cannot_create_the_device_leaves_the_one_before_at_work() {
    for isolation in ["none", "auto", "process"] {
        let mut house = House::start(&table("a", isolation, 1));
        assert_eq!(house.ask("a/count", "1"), "200 1");
        let mut bad = fs::read(house.plugin()).unwrap();
        let build = find(&bad, b"rogue build: good");
        bad[build + 13] = b'b';
        replace(&house, &bad);
        assert_eq!(house.reload().unwrap().changed, ["a"]);
        assert_eq!(house.ask("a/count", "1"), "200 2", "{isolation}");
        let trace = house.take_trace();
        assert!(trace.iter().any(|it| it.starts_with("state a/status: failed (")), "{trace:#?}");
        assert_eq!(house.ask("a/status", ""), "200 ready");
    }
}

#[test]
fn a_reload_leads_out_of_quarantine_and_out_of_a_hang() {
    let hung = "[devices.h]\nplugin = \"rogue\"\ndeadline = \"50ms\"\n";
    let mut house = House::start(&(table("a", "none", 1) + hung));
    assert_eq!(house.ask("h/count", "1"), "200 1");
    for _ in 0..3 {
        house.ask_until("a/job", "panic", "503 its plugin has panicked");
    }
    house.wait_for("a", &["quarantined"], |_| true);
    house.send("h/job", "hang");
    house.wait_for("h", &["stalled"], |_| true);
    house.wait_for_event("state h/status: stalled");
    assert_eq!(house.reload().unwrap().restarted, ["a", "h"]);
    assert_eq!(house.ask("a/count", "1"), "200 1");
    house.ask_until("h/count", "1", "200 2");
    assert_eq!(house.ask("h/status", ""), "200 ready");
}

/// Replaces the plugin as a package does: the new file beside the old one, then renamed.
fn replace(house: &House, content: &[u8]) {
    let new = house.plugin().with_extension("new");
    let mut file = fs::File::create(&new).unwrap();
    file.write_all(content).unwrap();
    fs::rename(new, house.plugin()).unwrap();
}
