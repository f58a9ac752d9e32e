//! `dmad devices`: what can compute here.

use bytesize::ByteSize;
use serde_json::json;

use crate::device::{DeviceKind, DeviceName, describe, found, is_built, memory};
use crate::error::Result;

/// One device that is here.
struct Row {
    name: DeviceName,
    what: String,
    memory_bytes: u64,
}

/// Prints every device of every kind that the program was built for, and which kinds it was not built for.
pub fn run(json: bool) -> Result<()> {
    let of_kind = |kind: DeviceKind| {
        let device = move |(number, device)| Row {
            name: DeviceName { kind, number },
            what: describe(&device),
            memory_bytes: memory(&device),
        };
        found(kind).into_iter().enumerate().map(device)
    };
    let rows: Vec<Row> = DeviceKind::ALL.into_iter().flat_map(of_kind).collect();
    let missing: Vec<&str> =
        DeviceKind::ALL.into_iter().filter(|kind| !is_built(*kind)).map(DeviceKind::name).collect();
    if json {
        let row =
            |row: &Row| json!({ "device": row.name.to_string(), "what": row.what, "memory_bytes": row.memory_bytes });
        let all = json!({ "devices": rows.iter().map(row).collect::<Vec<_>>(), "not_built": missing });
        return super::print(&format!("{all:#}"));
    }
    let row =
        |row: &Row| vec![row.name.to_string(), row.what.clone(), ByteSize(row.memory_bytes).display().si().to_string()];
    let mut text = super::terminal::table(&["device", "what it is", "memory"], rows.iter().map(row));
    for kind in DeviceKind::ALL.into_iter().filter(|kind| is_built(*kind) && found(*kind).is_empty()) {
        text += &format!("\nno {} device was found", kind.name());
    }
    if !missing.is_empty() {
        let features = missing.join(",");
        text += &format!("\nnot built in: {features} (cargo build --release --features {features})");
    }
    super::print(&text)
}
