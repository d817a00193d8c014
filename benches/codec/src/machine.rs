//! What a figure was measured on and how: the lines above each table.

use std::process::Command;

use crate::table::Style;

/// Date, processor, load, kernel, commit and command line, and `more` lines. They are made when the measuring is done: on an idle machine the load is then
/// about that of the benchmark itself.
pub(crate) fn heading(style: Style, more: &[String]) -> String {
    let unknown = || "unknown".to_string();
    let mut lines = vec![
        format!("date: {}", output("date", &["-u", "+%Y-%m-%d %H:%M UTC"]).unwrap_or_else(unknown)),
        format!("processor: {}", processor()),
        format!("load average: {}", load().unwrap_or_else(unknown)),
        format!("kernel: {}", output("uname", &["-sr"]).unwrap_or_else(unknown)),
        format!("commit: {}", commit().unwrap_or_else(unknown)),
        format!("command: {}", command()),
    ];
    lines.extend_from_slice(more);
    match style {
        Style::Text => lines.iter().map(|l| format!("{l}\n")).collect::<String>() + "\n",
        Style::Markdown => lines.iter().map(|l| format!("- {l}\n")).collect::<String>() + "\n",
    }
}

/// The command as it can be given again in the checkout.
fn command() -> String {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    format!("cargo run --release --manifest-path benches/codec/Cargo.toml -- {}", arguments.join(" "))
}

/// The commit that the checkout has, and whether anything was changed since.
fn commit() -> Option<String> {
    let checkout = crate::checkout().to_string_lossy().into_owned();
    let id = output("git", &["-C", &checkout, "rev-parse", "--short=12", "HEAD"])?;
    let changed = output("git", &["-C", &checkout, "status", "--porcelain", "--untracked-files=no"])?;
    Some(if changed.is_empty() { id } else { format!("{id} and changes not committed") })
}

/// Over the last 1, 5 and 15 minutes.
fn load() -> Option<String> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    Some(text.split(' ').take(3).collect::<Vec<_>>().join(", "))
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    // x86 names the model; other machines say less.
    let value = |key: &str| {
        let line = text.lines().find(|l| l.split(':').next().is_some_and(|k| k.trim() == key))?;
        Some(line.split_once(':')?.1.trim().to_string())
    };
    let model = value("model name").or_else(|| output("uname", &["-m"])).unwrap_or_else(|| "unknown".into());
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    format!("{model}, {threads} hardware thread{}", if threads == 1 { "" } else { "s" })
}

/// What a command prints, when it succeeds.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
}
