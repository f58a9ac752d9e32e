//! Settings against their defaults: what keys and ids are made of.
//!
//! Owns: laying written settings over defaults, and telling what differs from them. Keys and ids hold differences alone,
//! so that a new key with a default changes none of them.

use std::ops::Deref;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value as Json};

/// Plain data as JSON.
pub fn to_json<T: Serialize + ?Sized>(value: &T) -> Json {
    serde_json::to_value(value).unwrap_or_else(|fault| unreachable!("settings are plain data: {fault}"))
}

/// Lays `over` onto `base`: objects merge, anything else is replaced.
pub fn merge(base: &mut Json, over: &Json) {
    match (base, over) {
        (Json::Object(base), Json::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key.clone()).or_insert(Json::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}

/// What of `own` is not in `default`: objects key by key, anything else whole; an empty object where all is the same.
pub fn difference(own: &Json, default: &Json) -> Json {
    let empty = || Json::Object(Map::new());
    match (own, default) {
        (Json::Object(own), Json::Object(default)) => {
            let differs = |(key, value): (&String, &Json)| {
                let rest = default.get(key).map_or_else(|| value.clone(), |default| difference(value, default));
                (rest != empty()).then(|| (key.clone(), rest))
            };
            Json::Object(own.iter().filter_map(differs).collect())
        }
        (own, default) if own == default => empty(),
        (own, _) => own.clone(),
    }
}

/// JSON text with sorted keys.
pub fn canonical_json(json: &Json) -> String {
    match json {
        Json::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            let items: Vec<String> =
                keys.iter().map(|k| format!("{}:{}", Json::from(k.as_str()), canonical_json(&map[*k]))).collect();
            format!("{{{}}}", items.join(","))
        }
        Json::Array(items) => format!("[{}]", items.iter().map(canonical_json).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

/// The first `digits` hex digits of the BLAKE3 of canonical JSON.
pub fn digest(json: &Json, digits: usize) -> String {
    blake3::hash(canonical_json(json).as_bytes()).to_hex()[..digits].to_string()
}

/// Settings that are part of a key: serialised as what differs from their defaults. What is `auto` by default stands there as
/// it was resolved, so that a key never depends on what it was resolved from.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings<T> {
    own: T,
    difference: Json,
}

impl<T: Serialize + Default> From<T> for Settings<T> {
    fn from(own: T) -> Self {
        let difference = difference(&to_json(&own), &to_json(&T::default()));
        Settings { own, difference }
    }
}

impl<T> Deref for Settings<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.own
    }
}

impl<T> Serialize for Settings<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.difference.serialize(serializer)
    }
}
