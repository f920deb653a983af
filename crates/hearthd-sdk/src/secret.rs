//! Secrets of a device's table, which the hub reads where they are kept.

use std::cell::RefCell;
use std::fmt;

use serde::de::{
    Deserialize, DeserializeOwned, Deserializer, Error, IgnoredAny, MapAccess, Visitor,
};
use serde_json::Value as Json;

/// A secret of a device, such as a password or a token: a text that no log shows.
///
/// In the hub's file it is `{ file = "FILE" }`, or `{ credential = "NAME" }` for a credential that systemd gives to the
/// hub. The hub reads it before it passes the table on, without the line break at its end; `hearthd check` says
/// which one cannot be read. A plain text is taken as well, and the hub warns of it.
///
/// `Debug` does not show the text, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Returns the text. Do not log it, and do not publish it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretVisitor)
    }
}

/// Returns where a table has secrets, as JSON Pointers (RFC 6901).
///
/// A type that reads its configuration does not tell which key it is at, so the secrets are recognised by the
/// addresses of their texts in the table.
pub(crate) fn places<C: DeserializeOwned>(table: &Json) -> Vec<String> {
    let search = Search::begin();
    // What is wrong with the table is told when it is checked.
    let _ = C::deserialize(table);
    let mut places = Vec::new();
    collect(table, String::new(), &search.end(), &mut places);
    places
}

fn collect(value: &Json, place: String, seen: &[Seen], places: &mut Vec<String>) {
    let is_seen = |value: &Json, wanted: fn(usize) -> Seen| {
        let text = value.as_str().filter(|text| !text.is_empty());
        text.is_some_and(|text| seen.contains(&wanted(address(text))))
    };
    match value {
        Json::String(_) if is_seen(value, Seen::Text) => places.push(place),
        Json::Object(table) if table.values().any(|value| is_seen(value, Seen::Reference)) => {
            places.push(place);
        }
        Json::Object(table) => {
            for (key, value) in table {
                let key = key.replace('~', "~0").replace('/', "~1");
                collect(value, format!("{place}/{key}"), seen, places);
            }
        }
        Json::Array(array) => {
            for (index, value) in array.iter().enumerate() {
                collect(value, format!("{place}/{index}"), seen, places);
            }
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

/// A text that was read for a secret, by its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// It is the secret.
    Text(usize),
    /// It says where the secret is.
    Reference(usize),
}

thread_local! {
    /// What the search on this thread has seen; none while there is none.
    static SEEN: RefCell<Option<Vec<Seen>>> = const { RefCell::new(None) };
}

/// A search for secrets, which ends when it is dropped.
struct Search;

impl Search {
    fn begin() -> Self {
        SEEN.set(Some(Vec::new()));
        Self
    }

    fn end(self) -> Vec<Seen> {
        SEEN.take().unwrap_or_default()
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        SEEN.set(None);
    }
}

/// Notes what is read for a secret; returns whether a search runs.
fn note(seen: Seen) -> bool {
    SEEN.with_borrow_mut(|all| all.as_mut().map(|all| all.push(seen)).is_some())
}

fn address(text: &str) -> usize {
    text.as_ptr().addr()
}

struct SecretVisitor;

impl<'de> Visitor<'de> for SecretVisitor {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(WANTED)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Secret, E> {
        note(Seen::Text(address(text)));
        self.visit_str(text)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
        if text.is_empty() {
            return Err(E::custom(format!("is empty; write {WANTED}")));
        }
        Ok(Secret(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Secret, A::Error> {
        let (mut known, mut others, mut searching) = (0, 0, false);
        while let Some(key) = table.next_key::<String>()? {
            if matches!(key.as_str(), "file" | "credential") {
                known += 1;
                searching |= table.next_value::<Reference>()?.searching;
            } else {
                others += 1;
                table.next_value::<IgnoredAny>()?;
            }
        }
        match (known, others) {
            // Only the hub knows the text.
            _ if searching => Ok(Secret(String::new())),
            (1, 0) => Err(A::Error::custom(
                "this hub does not read secrets for plugins, it is too old; write the text itself",
            )),
            _ => Err(A::Error::custom(format!("must be {WANTED}"))),
        }
    }
}

/// Where a secret is: a path or a name.
struct Reference {
    searching: bool,
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(ReferenceVisitor)
    }
}

struct ReferenceVisitor;

impl<'de> Visitor<'de> for ReferenceVisitor {
    type Value = Reference;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text in quotes")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Reference, E> {
        Ok(Reference { searching: note(Seen::Reference(address(text))) })
    }

    fn visit_str<E: Error>(self, _text: &str) -> Result<Reference, E> {
        Ok(Reference { searching: false })
    }
}

/// What to write for a secret.
const WANTED: &str = "{ file = \"FILE\" } or { credential = \"NAME\" }";

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "the fields are only read from a table")]
    struct Config {
        name: String,
        password: Option<Secret>,
        #[serde(default)]
        accounts: Vec<Account>,
        #[serde(default)]
        tokens: BTreeMap<String, Secret>,
        #[serde(default)]
        source: BTreeMap<String, String>,
        #[serde(flatten)]
        flat: Flat,
    }

    #[derive(Debug, Deserialize)]
    #[serde(untagged)]
    #[expect(dead_code, reason = "the fields are only read from a table")]
    enum Account {
        Named { user: String, pin: Secret },
        Bare(Secret),
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "the fields are only read from a table")]
    struct Flat {
        flat: Option<Secret>,
    }

    #[test]
    fn secrets_are_found_wherever_they_are_and_nothing_else_is() {
        let table = json!({
            "name": "hall",
            "password": "hall",
            "accounts": [{"user": "a", "pin": {"file": "a"}}, {"credential": "b"}, "c"],
            "tokens": {"a/b~c": {"file": "a"}, "typing": {"fil": "a", "file": "a"}},
            "source": {"file": "a"},
            "flat": {"file": "flat"},
        });
        let found = places::<Config>(&table);
        let expected = [
            "/accounts/0/pin",
            "/accounts/1",
            "/accounts/2",
            "/flat",
            "/password",
            "/tokens/a~1b~0c",
            "/tokens/typing",
        ];
        assert_eq!(found, expected);
        let what = |place: &String| table.pointer(place).is_some();
        assert!(found.iter().all(what));
    }

    #[test]
    fn a_table_that_cannot_be_read_tells_what_was_found_before() {
        let found = places::<Config>(&json!({"name": "a", "password": {"file": "x"}, "tokens": 3}));
        assert_eq!(found, ["/password"]);
        // Each search ends, so the next table is read as it is.
        let error = serde_json::from_value::<Secret>(json!({"file": "x"})).unwrap_err();
        assert!(error.to_string().contains("too old"), "{error}");
    }

    #[test]
    fn a_secret_is_a_text_and_is_not_shown() {
        let secret: Secret = serde_json::from_value(json!("hush")).unwrap();
        assert_eq!((secret.expose(), format!("{secret:?}").as_str()), ("hush", "Secret(..)"));
        for wrong in [
            json!(3),
            json!({}),
            json!({"fil": "x"}),
            json!({"file": "x", "credential": "y"}),
            json!(""),
        ] {
            let error = serde_json::from_value::<Secret>(wrong).unwrap_err().to_string();
            assert!(error.contains(WANTED), "{error}");
        }
    }
}
