//! A table that may be written as a JSON Pointer alone.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

/// A table, or its `pointer` alone: `battery = "/battery"` is `battery = { pointer = "/battery" }`.
#[derive(Clone, Debug)]
pub(crate) struct Place<T>(pub(crate) T);

/// A table of which all but the pointer has a default.
pub(crate) trait PointerOnly {
    fn at(pointer: String) -> Self;
}

impl<'de, T: Deserialize<'de> + PointerOnly> Deserialize<'de> for Place<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PlaceVisitor(PhantomData)).map(Self)
    }
}

struct PlaceVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + PointerOnly> Visitor<'de> for PlaceVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON Pointer, such as \"/battery\", or a table")
    }

    fn visit_str<E: Error>(self, pointer: &str) -> Result<T, E> {
        Ok(T::at(pointer.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}
