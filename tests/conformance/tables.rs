//! The tables of `format-spec/*.tsv` against the constants in the code: equal line by line, so each holds what the other does.

use pye::blob::{Kind, Store};
use pye::holes::REFERENCES;
use pye::marshal::version::VERSIONS;
use pye::marshal::{Dialect, TYPES};
use pye::pye::{Header, MINOR, MINOR_IMAGE, ModuleKind, NAMES, OPTIMIZATION_OTHER, ROWS_PORTABLE, payload};

use crate::{golden, spec};

fn table(name: &str, heading: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    let mut out = heading.join("\t") + "\n";
    for row in rows {
        assert_eq!(row.len(), heading.len());
        out.push_str(&row.join("\t"));
        out.push('\n');
    }
    golden(&spec().join(name), out.as_bytes());
}

/// As in the code's names, lower case.
fn name(value: impl std::fmt::Debug) -> String {
    format!("{value:?}").to_lowercase()
}

#[test]
fn tags() {
    let until = |d: Dialect| if d == Dialect::V6 { "-".into() } else { name(d) };
    let rows = TYPES.iter().map(|t| {
        let number = if t.numbered { "yes" } else { "no" };
        vec![(t.code as char).into(), t.name.into(), name(t.shape), name(t.since), until(t.until), number.into()]
    });
    table("tags.tsv", &["code", "name", "shape", "since", "until", "takes_number"], rows);
}

#[test]
fn versions() {
    let rows = VERSIONS.iter().map(|v| {
        let range = format!("{}-{}", v.accepted.0, v.accepted.1);
        let code = [v.code.longs, v.code.objects, v.code.tail].map(|fields| fields.join(","));
        let [longs, objects, tail] = code;
        vec![v.to_string(), v.magic.to_string(), range, v.header_len.to_string(), name(v.dialect), longs, objects, tail]
    });
    let heading =
        ["version", "magic", "accepted", "header_bytes", "dialect", "code_longs", "code_objects", "code_tail"];
    table("versions.tsv", &heading, rows);
}

#[test]
fn kinds() {
    let blobs = Kind::ALL.into_iter().map(|kind| {
        let store = kind.store();
        let form = if kind.verbatim() { "as stored" } else { "UTF-8, surrogates passed" };
        let number = (kind as u8).to_string();
        vec![number, name(kind), store.section().into(), store.width().to_string(), form.into()]
    });
    let references = [1u64, 2].into_iter().map(|bytes| {
        let number = (REFERENCES + bytes - 1).to_string();
        vec![number, format!("references{bytes}"), "-".into(), bytes.to_string(), "r and 4 bytes each".into()]
    });
    table("kinds.tsv", &["number", "name", "section", "width", "form_in_pyc"], blobs.chain(references));
}

#[test]
fn sections() {
    let rows = NAMES.iter().enumerate().map(|(i, section)| {
        let store = Store::ALL.into_iter().find(|s| payload(*s) == i);
        let width = store.map_or("-".into(), |s| s.width().to_string());
        let row = i.checked_sub(1).map_or("-".into(), |row| (Header::ROWS_AT + Header::ROW_LEN * row).to_string());
        let since = if i > ROWS_PORTABLE { MINOR_IMAGE } else { MINOR };
        vec![(*section).into(), row, width, since.to_string()]
    });
    table("sections.tsv", &["name", "header_row_offset", "character_bytes", "since_minor"], rows);
}

#[test]
fn modules() {
    let kinds = [ModuleKind::Raw, ModuleKind::Module, ModuleKind::Package, ModuleKind::Namespace];
    let rows = kinds.into_iter().map(|kind| vec!["kind".into(), (kind as u8).to_string(), name(kind)]);
    let levels = [(0, "none"), (1, "opt-1"), (2, "opt-2"), (OPTIMIZATION_OTHER, "other")];
    let levels = levels.into_iter().map(|(n, name)| vec!["level".into(), n.to_string(), name.into()]);
    table("modules.tsv", &["field", "number", "name"], rows.chain(levels));
}
