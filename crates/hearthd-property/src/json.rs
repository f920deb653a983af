//! JSON in a request: a key that occurs twice in an object is refused, because it is unclear which value is meant.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Reads a JSON document.
///
/// # Errors
/// Where it is none, or names a key twice; the text says where.
pub fn parse_json(text: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice(text).map(|Unique(value)| value)
}

/// A JSON value whose objects name each key once.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

/// Reads JSON, and refuses an object that names a key twice.
struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Unique(element)) = elements.next_element()? {
            array.push(element);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.contains_key(&key) {
                let key = super::read::shorten(&key);
                return Err(A::Error::custom(format_args!("the key `{key}` is there twice")));
            }
            let Unique(value) = entries.next_value()?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_is_written() {
        for text in [
            "null",
            "true",
            "-7",
            "18446744073709551615",
            "2.5",
            r#""a \"text\"""#,
            "[]",
            r#"[{"a":[1,{"b":null}]},{"a":{}}]"#,
        ] {
            assert_eq!(parse_json(text.as_bytes()).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_key_that_stands_twice_is_named_wherever_it_stands() {
        for text in [
            r#"{"power":"ON","power":"OFF"}"#,
            r#"{"power":"ON","p\u006fwer":"ON"}"#,
            r#"{"scene":[{"power":1,"level":2,"power":1}]}"#,
        ] {
            let error = parse_json(text.as_bytes()).unwrap_err().to_string();
            assert!(
                error.starts_with("the key `power` is there twice at line 1 column "),
                "{error}"
            );
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in ["", "{", "nul", "1e400", "NaN", "{} {}", "\u{feff}{}"] {
            assert!(parse_json(text.as_bytes()).is_err(), "{text}");
        }
    }
}
