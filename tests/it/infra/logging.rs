//! docs/LOGGING.md lists every line that the code can write, with every field.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::{model::sources, run};

type Lines = BTreeMap<String, BTreeSet<String>>;

/// What the formatter adds to every line.
const ALWAYS: [&str; 5] = ["timestamp", "level", "target", "evt", "span"];

/// The lines in the code: each macro call that names an `evt`, with the names of its fields.
fn written() -> Lines {
    let mut lines = Lines::new();
    for (path, text) in sources() {
        if !path.starts_with("src/") || path.starts_with("src/dev/") {
            continue;
        }
        for rest in text.split("evt = \"").skip(1) {
            let (evt, rest) = rest.split_once('"').expect("a literal ends");
            lines.entry(evt.to_owned()).or_default().extend(fields(rest));
        }
    }
    lines
}

/// The names of the fields, up to the end of the macro call.
fn fields(call: &str) -> BTreeSet<String> {
    let (mut depth, mut parts, mut part, mut quoted) = (0, Vec::new(), String::new(), false);
    for character in call.chars() {
        match character {
            '"' => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' | ']' | '}' if !quoted && depth == 0 => break,
            ')' | ']' | '}' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(character);
    }
    parts.push(part);
    let names = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
    names
        .map(|part| match part.split_once('=') {
            Some((name, _)) if !part.starts_with('"') => name.trim().to_owned(),
            _ if part.starts_with('"') => "message".to_owned(),
            _ => part.trim_start_matches(['%', '?']).rsplit('.').next().unwrap_or_default().to_owned(),
        })
        .collect()
}

/// The lines in the table of docs/LOGGING.md.
fn documented() -> Lines {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/LOGGING.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        (names(cells[1]).remove(0), names(cells[3]).into_iter().collect())
    })
    .collect()
}

#[test]
fn the_page_lists_every_line_and_field_of_the_code_and_no_other() {
    let (written, documented) = (written(), documented());
    let mut findings = Vec::new();
    for (evt, fields) in &written {
        match documented.get(evt) {
            None => findings.push(format!("docs/LOGGING.md does not list `{evt}` with {fields:?}")),
            Some(told) if told != fields => {
                findings.push(format!("docs/LOGGING.md says {told:?} of `{evt}`, the code {fields:?}"));
            }
            Some(_) => {}
        }
    }
    let gone = documented.keys().filter(|evt| !written.contains_key(*evt));
    findings.extend(gone.map(|evt| format!("docs/LOGGING.md lists `{evt}`, which nothing writes")));
    super::assert_nothing(&findings);
}

#[tokio::test]
async fn lines_of_a_real_run_hold_nothing_that_the_page_does_not_say() {
    let documented = documented();
    let mut findings = BTreeSet::new();
    for line in run::lines().await {
        let Some(evt) = line["evt"].as_str() else { continue };
        let told = documented.get(evt).cloned().unwrap_or_default();
        for name in line.as_object().unwrap().keys().filter(|name| !ALWAYS.contains(&name.as_str())) {
            if !told.contains(name) {
                findings.insert(format!("a line `{evt}` holds the field {name}: {line}"));
            }
        }
    }
    super::assert_nothing(&findings.into_iter().collect::<Vec<_>>());
}
