//! The one table of keys: it feeds dispatch, the hints in the footer, the help and the README.
//! Keys are matched nowhere else; in a text field, keys that are not in it are text.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Hold the display, or let it go on.
    Pause,
    /// Show the newest line, and keep to it.
    Follow,
    /// Go to the oldest line.
    Oldest,
    /// Move up by a line.
    Up,
    /// Move down by a line.
    Down,
    /// Move up by a screen.
    PageUp,
    /// Move down by a screen.
    PageDown,
    /// Move up by half a screen.
    HalfUp,
    /// Move down by half a screen.
    HalfDown,
    /// Type what to look for.
    Search,
    /// Go to the next line found.
    NextMatch,
    /// Go to the previous line found.
    PreviousMatch,
    /// Type what to keep.
    Filter,
    /// Show or hide the stage with the number of the key.
    ToggleStage,
    /// Show only the stage with the number of the key.
    OnlyStage,
    /// Show all stages.
    AllStages,
    /// Raise the lowest level shown, from the highest back to the lowest.
    Level,
    /// Go to the next error.
    NextError,
    /// Go to the previous error.
    PreviousError,
    /// Go to the next warning or error.
    NextWarning,
    /// Go to the previous warning or error.
    PreviousWarning,
    /// Show the selected line in full.
    Detail,
    /// Show the next line in full.
    NextLine,
    /// Show the previous line in full.
    PreviousLine,
    /// Copy the event id.
    CopyId,
    /// Copy the line.
    CopyLine,
    /// Split the pane in two.
    Split,
    /// Close the pane.
    ClosePane,
    /// Go to the next pane.
    NextPane,
    /// Go to the previous pane.
    PreviousPane,
    /// Give the pane all the room, or take it back.
    FullPane,
    /// Forget all lines.
    Clear,
    /// Show more or fewer figures.
    Figures,
    /// Show the keys.
    Help,
    /// One layer back.
    Back,
    /// Keep what was typed.
    Accept,
    /// Forget what was typed.
    Cancel,
    /// End the console.
    Quit,
    /// Draw everything anew.
    Redraw,
    /// Stop as by Ctrl-Z.
    Suspend,
}

/// Where the keys go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// The log.
    Log,
    /// One line in full.
    Detail,
    /// The help.
    Help,
    /// A text field.
    Field,
}

impl Context {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Log, Self::Detail, Self::Help, Self::Field];

    /// How the help calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Detail => "detail",
            Self::Help => "help",
            Self::Field => "text field",
        }
    }
}

/// What bindings are grouped by in the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Moving about.
    Move,
    /// Finding and hiding lines.
    Find,
    /// Stages and levels.
    Show,
    /// Doing something with a line.
    Line,
    /// Several views of the lines.
    Panes,
    /// The console itself.
    Console,
}

impl Group {
    /// All of them, in the order of the help.
    pub const ALL: [Self; 6] =
        [Self::Move, Self::Find, Self::Show, Self::Line, Self::Panes, Self::Console];

    /// Its title.
    pub fn title(self) -> &'static str {
        match self {
            Self::Move => "Moving",
            Self::Find => "Searching",
            Self::Show => "Stages and levels",
            Self::Line => "The selected line",
            Self::Panes => "Panes",
            Self::Console => "Console",
        }
    }
}

/// One key, with its modifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    code: KeyCode,
    ctrl: bool,
}

const fn ch(c: char) -> Key {
    Key { code: KeyCode::Char(c), ctrl: false }
}

const fn ctrl(c: char) -> Key {
    Key { code: KeyCode::Char(c), ctrl: true }
}

const fn code(code: KeyCode) -> Key {
    Key { code, ctrl: false }
}

impl Key {
    fn matches(self, event: &KeyEvent) -> bool {
        // Shift is part of a character already, and some terminals report it besides.
        let modifiers = event.modifiers.difference(KeyModifiers::SHIFT);
        let wanted = if self.ctrl { KeyModifiers::CONTROL } else { KeyModifiers::NONE };
        event.code == self.code && modifiers == wanted
    }

    /// The event of pressing it.
    pub fn event(self) -> KeyEvent {
        let modifiers = if self.ctrl { KeyModifiers::CONTROL } else { KeyModifiers::NONE };
        KeyEvent::new(self.code, modifiers)
    }

    /// How it is written.
    pub fn label(self) -> String {
        let name = match self.code {
            KeyCode::Char(' ') => "Space".to_owned(),
            KeyCode::Char(c) if self.ctrl => c.to_ascii_uppercase().to_string(),
            KeyCode::Char(c) => c.to_string(),
            KeyCode::Up => "↑".to_owned(),
            KeyCode::Down => "↓".to_owned(),
            KeyCode::Left => "←".to_owned(),
            KeyCode::Right => "→".to_owned(),
            KeyCode::PageUp => "PgUp".to_owned(),
            KeyCode::PageDown => "PgDn".to_owned(),
            other => other.to_string(),
        };
        if self.ctrl { format!("Ctrl-{name}") } else { name }
    }
}

/// Keys that do the same thing.
pub struct Binding {
    /// The keys; for stages, in the order of the stages.
    pub keys: &'static [Key],
    /// Where they do it.
    pub contexts: &'static [Context],
    /// What they do.
    pub action: Action,
    /// The same for a person.
    pub help: &'static str,
    /// The same in a word or two, for the footer, where it belongs there.
    pub hint: Option<&'static str>,
    /// Where it stands in the help.
    pub group: Group,
}

impl Binding {
    /// The keys as they are written, such as `1…6` or `f G End`.
    pub fn label(&self) -> String {
        match self.keys {
            [first, .., last] if self.keys.len() > 4 => {
                format!("{}…{}", first.label(), last.label())
            }
            keys => keys.iter().map(|key| key.label()).collect::<Vec<_>>().join(" "),
        }
    }

    /// The first key, for the footer.
    pub fn short_label(&self) -> String {
        match self.keys {
            [] | [_, _, _, _, _, ..] => self.label(),
            [first, ..] => first.label(),
        }
    }
}

const LOG: &[Context] = &[Context::Log];
const DETAIL: &[Context] = &[Context::Detail];
const FIELD: &[Context] = &[Context::Field];
const VIEWS: &[Context] = &[Context::Detail, Context::Help];
const LINES: &[Context] = &[Context::Log, Context::Detail];
const SCROLL: &[Context] = &[Context::Log, Context::Detail, Context::Help];

const fn bind(
    keys: &'static [Key],
    contexts: &'static [Context],
    action: Action,
    hint: Option<&'static str>,
    group: Group,
    help: &'static str,
) -> Binding {
    Binding { keys, contexts, action, help, hint, group }
}

/// All bindings, the most important first: the footer shows as many as fit.
#[rustfmt::skip]
pub const BINDINGS: &[Binding] = &[
    bind(&[code(KeyCode::Enter)], FIELD, Action::Accept, Some("keep"), Group::Find, "In a text field: keep what was typed"),
    bind(&[code(KeyCode::Esc)], FIELD, Action::Cancel, Some("cancel"), Group::Find, "In a text field: back to what was there before"),
    bind(&[code(KeyCode::Esc), ch('q')], VIEWS, Action::Back, Some("back"), Group::Console, "Close this view"),
    bind(&[ch('?'), code(KeyCode::F(1))], LINES, Action::Help, Some("help"), Group::Console, "This help"),
    bind(&[ch('?'), code(KeyCode::F(1))], &[Context::Help], Action::Back, None, Group::Console, "In this help: close it"),
    bind(&[ch(' ')], LOG, Action::Pause, Some("pause"), Group::Move, "Pause the display, or go on; lines still come in"),
    bind(&[ch('f'), ch('G'), code(KeyCode::End)], LOG, Action::Follow, Some("follow"), Group::Move, "Follow: stay with the newest line"),
    bind(&[ch('/')], LOG, Action::Search, Some("search"), Group::Find, "Search: words, \"phrases\", a.*b or /regex/, level:>=warn, id:3f2a, dur:>50, data.url:/a, -not"),
    bind(&[ch('&')], LOG, Action::Filter, Some("filter"), Group::Find, "Show only what a query asks for, written as for a search; a ! before it: all but that"),
    bind(&[ch('n')], LOG, Action::NextMatch, Some("next"), Group::Find, "Go to the next line found"),
    bind(&[ch('N')], LOG, Action::PreviousMatch, Some("previous"), Group::Find, "Go to the previous line found"),
    bind(&[code(KeyCode::Enter)], LOG, Action::Detail, Some("detail"), Group::Line, "Show the line in full"),
    bind(&[ch('1'), ch('2'), ch('3'), ch('4'), ch('5'), ch('6')], LOG, Action::ToggleStage, Some("stages"), Group::Show, "Hide or show a stage"),
    bind(&[ch('l')], LOG, Action::Level, Some("level"), Group::Show, "All levels, warnings and errors, or only errors"),
    bind(&[ch('e')], LOG, Action::NextError, None, Group::Show, "Go to the next error"),
    bind(&[ch('E')], LOG, Action::PreviousError, Some("last error"), Group::Show, "Go to the previous error"),
    bind(&[ch('w')], LOG, Action::NextWarning, None, Group::Show, "Go to the next warning or error"),
    bind(&[ch('W')], LOG, Action::PreviousWarning, None, Group::Show, "Go to the previous warning or error"),
    bind(&[code(KeyCode::Right)], DETAIL, Action::NextLine, Some("next line"), Group::Line, "In the detail: the next line"),
    bind(&[code(KeyCode::Left)], DETAIL, Action::PreviousLine, Some("previous line"), Group::Line, "In the detail: the previous line"),
    bind(&[ch('y')], LINES, Action::CopyId, Some("copy id"), Group::Line, "Copy the event id, or the curl command if no line is there"),
    bind(&[ch('Y')], LINES, Action::CopyLine, Some("copy line"), Group::Line, "Copy the line as JSON"),
    bind(&[ch('!'), ch('@'), ch('#'), ch('$'), ch('%'), ch('^')], LOG, Action::OnlyStage, None, Group::Show, "Show only one stage (Shift and its digit)"),
    bind(&[ch('0')], LOG, Action::AllStages, None, Group::Show, "Show all stages"),
    bind(&[code(KeyCode::Up), ch('k')], SCROLL, Action::Up, None, Group::Move, "Up by a line, which stops following"),
    bind(&[code(KeyCode::Down), ch('j')], SCROLL, Action::Down, None, Group::Move, "Down by a line"),
    bind(&[code(KeyCode::PageUp)], SCROLL, Action::PageUp, None, Group::Move, "Up by a screen"),
    bind(&[code(KeyCode::PageDown)], SCROLL, Action::PageDown, Some("scroll"), Group::Move, "Down by a screen"),
    bind(&[ctrl('u')], SCROLL, Action::HalfUp, None, Group::Move, "Up by half a screen"),
    bind(&[ctrl('d')], SCROLL, Action::HalfDown, None, Group::Move, "Down by half a screen"),
    bind(&[ch('g'), code(KeyCode::Home)], SCROLL, Action::Oldest, None, Group::Move, "Go to the oldest line"),
    bind(&[ch('G'), code(KeyCode::End)], VIEWS, Action::Follow, None, Group::Move, "In a view: to its end"),
    bind(&[ch('i')], LOG, Action::Figures, None, Group::Console, "Show all figures or one row of them"),
    bind(&[ch('C')], LOG, Action::Clear, None, Group::Console, "Clear: forget all lines, also those held"),
    bind(&[code(KeyCode::Esc)], LOG, Action::Back, None, Group::Console, "One layer back: end the search, then the filter"),
    bind(&[ch('q')], LOG, Action::Quit, Some("quit"), Group::Console, "Quit; in a view, close it"),
    bind(&[ctrl('c')], &Context::ALL, Action::Quit, None, Group::Console, "Quit at once"),
    bind(&[ctrl('l')], &Context::ALL, Action::Redraw, None, Group::Console, "Draw the screen anew"),
    bind(&[ctrl('z')], &Context::ALL, Action::Suspend, None, Group::Console, "Suspend; fg comes back"),
    bind(&[ch('s')], LOG, Action::Split, Some("split"), Group::Panes, "Split: one more pane with a filter, search and place of its own; at most 4"),
    bind(&[ch('S')], LOG, Action::ClosePane, None, Group::Panes, "Close this pane"),
    bind(&[code(KeyCode::Tab)], LOG, Action::NextPane, None, Group::Panes, "Go to the next pane"),
    bind(&[code(KeyCode::BackTab)], LOG, Action::PreviousPane, None, Group::Panes, "Go to the previous pane (Shift-Tab)"),
    bind(&[ch('x')], LOG, Action::FullPane, None, Group::Panes, "All the room for this pane, or back"),
];

/// What a key does in a context, and which of its binding's keys it is.
pub fn find(context: Context, event: &KeyEvent) -> Option<(Action, usize)> {
    let here = BINDINGS.iter().filter(|binding| binding.contexts.contains(&context));
    here.filter_map(|binding| {
        let nth = binding.keys.iter().position(|key| key.matches(event))?;
        Some((binding.action, nth))
    })
    .next()
}

/// The bindings of a context that the footer hints at.
pub fn hints(context: Context) -> impl Iterator<Item = &'static Binding> {
    let here = BINDINGS.iter().filter(move |binding| binding.contexts.contains(&context));
    here.filter(|binding| binding.hint.is_some())
}

/// The bindings of a group, in the order of the table.
pub fn group(group: Group) -> impl Iterator<Item = &'static Binding> {
    BINDINGS.iter().filter(move |binding| binding.group == group)
}

/// The table as Markdown, for the README.
pub fn markdown() -> String {
    let mut out = String::new();
    for title in Group::ALL {
        out.push_str(&format!("| {} | |\n| --- | --- |\n", title.title()));
        for binding in group(title) {
            let keys: Vec<_> =
                binding.keys.iter().map(|key| format!("`{}`", key.label())).collect();
            out.push_str(&format!("| {} | {} |\n", keys.join(" "), binding.help));
        }
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_does_one_thing_in_a_context_and_is_found() {
        for binding in BINDINGS {
            for &context in binding.contexts {
                for (nth, key) in binding.keys.iter().enumerate() {
                    let found = find(context, &key.event());
                    assert_eq!(found, Some((binding.action, nth)), "{} {context:?}", key.label());
                }
            }
        }
    }

    #[test]
    fn every_binding_is_in_the_help_and_the_readme_table() {
        let listed: usize = Group::ALL.iter().map(|&g| group(g).count()).sum();
        assert_eq!(listed, BINDINGS.len());
        let markdown = markdown();
        for binding in BINDINGS {
            assert!(markdown.contains(binding.help));
            assert!(!binding.help.contains('|'));
        }
    }

    #[test]
    fn a_text_field_keeps_every_character() {
        for c in ' '..='~' {
            for modifiers in [KeyModifiers::NONE, KeyModifiers::SHIFT] {
                let event = KeyEvent::new(KeyCode::Char(c), modifiers);
                assert_eq!(find(Context::Field, &event), None, "{c}");
            }
        }
    }

    #[test]
    fn shift_is_no_obstacle_but_alt_is() {
        let event = |modifiers| KeyEvent::new(KeyCode::Char('G'), modifiers);
        let found = Some((Action::Follow, 1));
        assert_eq!(find(Context::Log, &event(KeyModifiers::SHIFT)), found);
        assert_eq!(find(Context::Log, &event(KeyModifiers::ALT)), None);
        assert_eq!(find(Context::Log, &event(KeyModifiers::CONTROL)), None);
    }

    #[test]
    fn labels_are_short() {
        let label = |action| BINDINGS.iter().find(|b| b.action == action).unwrap().label();
        assert_eq!(label(Action::ToggleStage), "1…6");
        assert_eq!(label(Action::Follow), "f G End");
        assert_eq!(label(Action::HalfUp), "Ctrl-U");
        assert_eq!(label(Action::Pause), "Space");
    }
}
