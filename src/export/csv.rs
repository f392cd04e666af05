//! Events as rows of a table.

use crate::{domain::event::Data, store::rows::RecordedEvent};

/// The line that names the columns.
pub fn header() -> Vec<u8> {
    record(HEADER.iter())
}

const HEADER: [&str; 17] = [
    "partition",
    "sequence",
    "recordedTime",
    "time",
    "type",
    "category",
    "streamId",
    "version",
    "id",
    "source",
    "actorType",
    "actorId",
    "recordedBy",
    "correlationId",
    "causationId",
    "erasedTime",
    "data",
];

/// One event. A cell that a spreadsheet would take for a formula gets an apostrophe in front.
pub fn line(event: &RecordedEvent) -> Vec<u8> {
    let envelope = &event.envelope;
    let actor = event.actor.as_ref();
    let data = match &event.data {
        Data::Binary(bytes) => base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes),
        data => String::from_utf8_lossy(data.as_bytes()).into_owned(),
    };
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    let cells = [
        event.position.partition.to_string(),
        event.position.sequence.to_string(),
        event.recorded.to_string(),
        envelope.time.map(|time| time.to_string()).unwrap_or_default(),
        envelope.event_type.to_string(),
        event.stream.category.to_string(),
        event.stream.id.to_string(),
        event.version.to_string(),
        envelope.id.to_string(),
        envelope.source.to_string(),
        text(actor.map(|actor| actor.kind.as_str())),
        text(actor.and_then(|actor| actor.id.as_deref())),
        text(envelope.recorded_by.as_ref().map(|by| by.as_str())),
        text(envelope.correlation.as_ref().map(|id| id.as_str())),
        text(envelope.causation.as_ref().map(|id| id.as_str())),
        event.erased.as_ref().map(|mark| mark.time.to_string()).unwrap_or_default(),
        data,
    ];
    record(cells.into_iter().map(harmless))
}

/// Writes a record, quoted where it must be.
pub(super) fn record(cells: impl Iterator<Item = impl AsRef<[u8]>>) -> Vec<u8> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    // Memory always takes it.
    let _ = writer.write_record(cells);
    writer.into_inner().unwrap_or_default()
}

fn harmless(cell: String) -> String {
    match cell.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("'{cell}"),
        false => cell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_never_a_formula_and_quotes_are_doubled() {
        assert_eq!(harmless("=cmd()".to_owned()), "'=cmd()");
        assert_eq!(record(["a\"b", "c,d", "e"].into_iter()), b"\"a\"\"b\",\"c,d\",e\n");
    }
}
