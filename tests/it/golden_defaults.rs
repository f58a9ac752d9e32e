//! Defaults are a contract: ids and stage keys hold what differs from them, so a default that changes would give old
//! artifacts and records another meaning. `golden_defaults.json` holds them with the version that all ids and keys carry.

use std::path::{Path, PathBuf};

use dmad::methods::METHODS;
use dmad::spec::{Backbone, Evaluation, Features, Geometry, MethodContext, Protocol, SPEC_VERSION, difference, merge};
use serde_json::{Value as Json, json};

use crate::util;

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden_defaults.json")
}

fn defaults() -> Json {
    let of = |kind: &dmad::spec::MethodKind| {
        let own = json!({ "parameters": (kind.defaults)(), "sections": (kind.sections)() });
        (kind.name.to_string(), own)
    };
    let methods: serde_json::Map<String, Json> = METHODS.iter().map(|entry| of(&entry.kind)).collect();
    json!({
        "version": SPEC_VERSION,
        "sections": {
            "protocol": Protocol::default(), "image": Geometry::default(), "backbone": Backbone::default(),
            "features": Features::default(), "evaluation": Evaluation::default(),
        },
        "methods": methods,
    })
}

#[test]
fn no_default_changes_under_an_old_version() {
    let (today, mut recorded) = (defaults(), util::json(&file()));
    let same_version = recorded["version"] == today["version"];
    // What is new may be added; what was there says the same for as long as the version does.
    let changed = difference(&recorded, &today);
    if std::env::var_os("UPDATE_GOLDEN").is_some() && (changed == json!({}) || !same_version) {
        merge(&mut recorded, &today);
        std::fs::write(file(), format!("{recorded:#}\n")).expect("written");
        return;
    }
    assert!(same_version, "record the defaults of version {SPEC_VERSION} with UPDATE_GOLDEN=1");
    assert_eq!(
        changed,
        json!({}),
        "these defaults were others: raise spec::SPEC_VERSION, then run with UPDATE_GOLDEN=1"
    );
    let missing = difference(&today, &recorded);
    assert_eq!(missing, json!({}), "these defaults are not recorded yet: run with UPDATE_GOLDEN=1");
}

/// Records and resolved experiments are TOML, which has no null: what is optional needs a word for "not given".
#[test]
fn every_default_can_be_written_as_toml() {
    for kind in METHODS.iter().map(|entry| &entry.kind) {
        let defaults = (kind.defaults)();
        for seen_count in [0, 1] {
            let configured = (kind.parse)(&defaults, &MethodContext { seen_count }).expect("defaults are no fault");
            for json in [&defaults, &(kind.sections)(), &configured.parameters] {
                assert!(toml::to_string(json).is_ok(), "`{}` has a default that TOML cannot write: {json}", kind.name);
            }
        }
    }
}
