//! Shown instead of the log while there are no lines: what the console waits for, or what hides the
//! lines.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::draw::{clear, put, row};
use super::screens;
use crate::format;
use crate::keymap::Action;
use crate::model::filter::Condition;
use crate::model::pane::{Pane, Visit};
use crate::model::{Flow, Link, Model};
use bklit_wire::text;

/// Stands in a command for a token that is not known here.
const TOKEN: &str = "$BKLIT_TOKEN";

pub(super) fn render(model: &Model, pane: &Pane, buf: &mut Buffer, area: Rect) {
    let theme = model.options.theme;
    // The command takes the place of the frame's sides, so that whole rows can be selected.
    let alone = area.width + 2 == model.size.0;
    let whole = if alone { Rect { x: 0, width: model.size.0, ..area } } else { area };
    let width = usize::from(whole.width);
    let curl = match &model.options.curl {
        Some(curl) if model.ring.is_empty() && model.flow == Flow::Live => shell_lines(curl, width),
        _ => Vec::new(),
    };
    let mut texts = texts(model, pane);
    let height = usize::from(area.height);
    // A command that is cut cannot be pasted, so the text is shorter if necessary.
    let is_tight = texts.len() + 1 + curl.len() > height;
    texts.truncate(if is_tight && !curl.is_empty() { 1 } else { texts.len() });
    let gap = usize::from(!is_tight);
    let rows = texts.len() + gap + curl.len();
    let mut y = height.saturating_sub(rows) / 3;
    for (nth, sentence) in texts.iter().enumerate() {
        let style = if nth == 0 { theme.strong() } else { theme.dim() };
        put(buf, row(area, y), 2, usize::from(area.width).saturating_sub(3), sentence, style);
        y += 1;
    }
    for (nth, line) in curl.iter().enumerate() {
        let at = row(whole, y + gap + nth);
        clear(buf, at, 0, width);
        put(buf, at, 0, width, line, theme.plain());
    }
}

/// The text, most important part first.
fn texts(model: &Model, pane: &Pane) -> Vec<String> {
    let held = model.ring.next() - model.limit().clamp(model.ring.first(), model.ring.next());
    let kept = model.ring.len() as u64 - held.min(model.ring.len() as u64);
    if let Some(done) = pane.progress(&model.ring, model.limit()) {
        return vec![format!("No match yet; {done} % of the lines searched.")];
    }
    if kept > 0 {
        let mut texts = vec![format!("None of {} lines match.", format::count(kept))];
        texts.extend(hidden_by(model, pane));
        return texts;
    }
    if model.flow != Flow::Live {
        return vec![
            "Paused; the lines shown were dropped for newer ones.".to_owned(),
            format!(
                "{} new lines are waiting; {} shows them.",
                format::count(held),
                model.key(Action::Pause)
            ),
        ];
    }
    if let Link::Down(reason) = &model.link
        && model.has_no_current_data()
    {
        let since = model.time_of_day(model.cut.unwrap_or(model.now));
        let source = text::safe(&model.options.source);
        return vec![
            format!("No connection to {source} since {since}."),
            format!("{reason}; retrying every few seconds."),
        ];
    }
    let copy = model.key(Action::CopyId);
    let hint = if model.options.curl.as_ref().is_some_and(|curl| curl.contains(TOKEN)) {
        format!(
            "Send one with a token, which bklit-tui token create prints ({copy} copies the command):"
        )
    } else if model.options.curl.is_some() {
        format!("Send one from another terminal ({copy} copies the command):")
    } else {
        "Each line appears here as the pipeline writes it.".to_owned()
    };
    vec!["Waiting for the first event.".to_owned(), hint]
}

/// What hides how many lines, and which key changes that.
fn hidden_by(model: &Model, pane: &Pane) -> Vec<String> {
    let filter = pane.filter();
    let conditions: Vec<_> =
        Condition::ALL.into_iter().filter(|&condition| filter.has(condition)).collect();
    // A line counts for the first condition that hides it, so another one may hide as many.
    let hides = |&condition: &Condition| match pane.hidden().by(condition) {
        0 => "also applies".to_owned(),
        lines => format!("hides {}", format::lines(lines)),
    };
    let mut sorted = conditions.clone();
    sorted.sort_by_key(|&condition| std::cmp::Reverse(pane.hidden().by(condition)));
    let mut texts: Vec<_> = sorted
        .iter()
        .map(|condition| {
            let phrase = screens::phrase(model, filter, *condition);
            format!("{phrase}: {}; {}", hides(condition), remedy(model, *condition))
        })
        .collect();
    let back = model.key(Action::Back);
    match (pane.visit(), conditions.len()) {
        (Some(Visit::Group), _) => texts.push(format!("{back} goes back to the problems.")),
        (_, 0..=1) => texts.push(format!("{back} removes it.")),
        _ => texts.push(format!("{back} removes them one by one, the last one first.")),
    }
    texts
}

fn remedy(model: &Model, condition: Condition) -> String {
    match condition {
        Condition::Level => format!("{} shows other levels", model.key(Action::Level)),
        Condition::Stages => format!("{} shows all stages", model.key(Action::AllStages)),
        Condition::Since => ":since off shows all".to_owned(),
        Condition::Project => format!("{} shows other projects", model.key(Action::Projects)),
        Condition::Process => format!("{} lists the processes", model.key(Action::Processes)),
        Condition::Group => format!("{} shows other groups", model.key(Action::Problems)),
        Condition::Query => format!("{} edits it", model.key(Action::Filter)),
    }
}

/// Splits a shell command into rows of at most `width` columns that can be pasted.
///
/// Between words, a row ends with `\` in the very last column, so that a terminal cannot copy
/// trailing spaces between the `\` and the line end. A word that is too long is split: its quotes
/// are closed and opened again.
fn shell_lines(command: &str, width: usize) -> Vec<String> {
    if bklit_wire::text::width(command) <= width {
        return vec![command.to_owned()];
    }
    let room = width.saturating_sub(2).max(8);
    let mut rows = Vec::new();
    let mut current = String::new();
    for word in words(command) {
        let needed = word.chars().count() + usize::from(!current.is_empty());
        if !current.is_empty() && current.chars().count() + needed > room {
            rows.push(format!("{current:<room$} \\"));
            current.clear();
        }
        if !current.is_empty() {
            current.push(' ');
        }
        let mut quoted = false;
        for c in word.chars() {
            if current.chars().count() >= room {
                let end = if quoted { "'\\" } else { "\\" };
                rows.push(format!("{current}{end}"));
                current = if quoted { "'".to_owned() } else { String::new() };
            }
            quoted ^= c == '\'';
            current.push(c);
        }
    }
    rows.push(current);
    rows
}

/// The words of a command; short options stay together with their values, and spaces in single
/// quotes do not split words.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in command.chars() {
        quoted ^= c == '\'';
        match words.last_mut() {
            Some(word) if c != ' ' || quoted => word.push(c),
            Some(word) if word.is_empty() => {}
            _ => words.push(String::new()),
        }
    }
    words.retain(|word| !word.is_empty());
    let mut joined: Vec<String> = Vec::new();
    for word in words {
        match joined.last_mut() {
            Some(option) if option.len() == 2 && option.starts_with('-') => {
                option.push(' ');
                option.push_str(&word);
            }
            _ => joined.push(word),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> String {
        let token = format!("bk_live_{}", "0123456789abcdef".repeat(4));
        format!(
            "curl -sS http://127.0.0.1:3001/track -H 'Authorization: Bearer {token}' \
             -H 'Content-Type: application/json' \
             -d '{{\"url\":\"https://example.com/hello world\",\"projectId\":\"default\"}}'"
        )
    }

    /// How a real shell parses the rows.
    #[test]
    fn a_shell_reads_the_rows_as_the_command() {
        let args = |script: &str| {
            let script = script.replacen("curl", "printf '<%s>'", 1);
            // Tests may run programs.
            #[allow(clippy::disallowed_methods)]
            let run = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
            assert!(run.status.success(), "{run:?}");
            String::from_utf8(run.stdout).unwrap()
        };
        let wanted = args(&command());
        assert!(wanted.contains("<-H><Authorization: Bearer bk_live_"));
        for width in 20..300 {
            let rows = shell_lines(&command(), width);
            assert!(rows.iter().all(|row| row.chars().count() <= width), "{width}: {rows:#?}");
            assert_eq!(args(&rows.join("\n")), wanted, "{width}: {rows:#?}");
            // Only the row's end follows a `\`.
            for row in &rows[..rows.len() - 1] {
                let full = row.chars().count() >= width - 1;
                assert!(row.ends_with('\\') && full, "{width}: {row:?}");
            }
        }
        assert_eq!(shell_lines(&command(), 1000), [command()]);
    }
}
