//! Reads what a device says of a device that it adds: on both sides of a process, by the same rules.

use hearthd_config::check_id;
use hearthd_core::property::Declaration;
use hearthd_sdk::abi::{self, children::MOST_DECLARED};

use crate::boundary::call::{ChildRefusal, NewChild};

/// Returns the ID of a device that another one adds, and what it declares.
pub(crate) fn read(
    parent: &str,
    child: &NewChild<'_>,
) -> Result<(String, Vec<Declaration>), ChildRefusal> {
    let id = format!("{parent}-{}", child.name);
    let invalid = |path, message| ChildRefusal { status: abi::ERR_INVALID, path, message };
    if child.name.is_empty() {
        return Err(invalid("name", "a child needs a name".into()));
    }
    check_id(&id).map_err(|message| invalid("name", message))?;
    if !child.kind.is_empty() {
        check_id(child.kind).map_err(|message| invalid("kind", message))?;
    }
    for (path, text) in [("title", child.title), ("room", child.room)] {
        if text.len() > LONGEST_TEXT {
            return Err(invalid(path, format!("it is longer than {LONGEST_TEXT} bytes")));
        }
    }
    if child.properties.len() > MOST_DECLARED {
        let message = format!("the declarations have more than {MOST_DECLARED} bytes");
        return Err(ChildRefusal { status: abi::ERR_TOO_LARGE, path: "properties", message });
    }
    let declarations = Declaration::parse_all(child.properties)
        .map_err(|message| invalid("properties", message))?;
    Ok((id, declarations))
}

/// Says that a device adds others without having said so.
pub(crate) fn not_offered() -> ChildRefusal {
    let message = "it has not said that it may add devices".into();
    ChildRefusal { status: abi::ERR_UNSUPPORTED, path: "", message }
}

/// Says that a device has as many children as it may.
pub(crate) fn too_many() -> ChildRefusal {
    let message = format!("there are {} children already", abi::children::MOST_CHILDREN);
    ChildRefusal { status: abi::ERR_TOO_LARGE, path: "", message }
}

/// The longest name for people, and the longest name of a room, in bytes.
const LONGEST_TEXT: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_cannot_be_is_refused_with_what_is_wrong_of_it() {
        let (long, many) = ("x".repeat(300), format!("{{\"a\": {}}}", "1".repeat(20_000)));
        let good = NewChild {
            name: "hall",
            kind: "",
            title: "",
            room: "",
            properties: r#"{"power": {"type": "switch"}}"#,
        };
        assert_eq!(read("bridge", &good).map(|(id, _)| id), Ok("bridge-hall".into()));
        let cases = [
            (NewChild { name: "", ..good }, "name", "a child needs a name"),
            (NewChild { name: "Hall", ..good }, "name", "`bridge-Hall` is no ID"),
            (NewChild { name: &"x".repeat(60), ..good }, "name", "is no ID"),
            (NewChild { name: "a/b", ..good }, "name", "is no ID"),
            (NewChild { kind: "A lamp", ..good }, "kind", "is no ID"),
            (NewChild { title: &long, ..good }, "title", "longer than 256"),
            (NewChild { room: &long, ..good }, "room", "longer than 256"),
            (NewChild { properties: &many, ..good }, "properties", "more than 16384 bytes"),
            (NewChild { properties: "[]", ..good }, "properties", "no JSON object"),
            (
                NewChild { properties: r#"{"get": {"type": "text"}}"#, ..good },
                "properties",
                "`get` is taken",
            ),
        ];
        for (child, path, message) in cases {
            let refused = read("bridge", &child).unwrap_err();
            assert_eq!(refused.path, path, "{refused:?}");
            assert!(refused.message.contains(message), "{refused:?}");
        }
    }
}
