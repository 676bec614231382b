//! The user's own keys, which override those of the table. The keys of text fields, Esc, and keys
//! that apply everywhere (such as Ctrl-C) cannot be changed.

use std::collections::BTreeMap;

use crossterm::event::{KeyCode, KeyEvent};

use super::key::{ch, code, ctrl};
use super::{Action, BINDINGS, Binding, Context, Key, short_label};
use crate::settings::KeyNames;

/// Contexts in which keys are text, or a letter is expected.
const TEXT: [Context; 5] =
    [Context::Field, Context::Projects, Context::Letter, Context::Palette, Context::SqlInput];

/// The keys in effect.
#[derive(Clone, Debug, Default)]
pub struct Bindings {
    changed: Vec<(Action, Vec<Key>)>,
}

/// An invalid setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingError {
    /// The action's name in the settings.
    pub name: String,
    /// What is wrong.
    pub message: String,
}

/// An action's name in the settings: `next-match`.
pub fn name(action: Action) -> String {
    let mut name = String::new();
    for c in format!("{action:?}").chars() {
        if c.is_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.extend(c.to_lowercase());
    }
    name
}

fn can_change(binding: &Binding) -> bool {
    binding.action != Action::Back
        && !TEXT.iter().any(|&context| binding.contexts.contains(context))
}

impl Bindings {
    /// The table with these keys instead, by the names of actions.
    ///
    /// # Errors
    /// The first invalid name, key or conflict.
    pub fn read(settings: &BTreeMap<String, KeyNames>) -> Result<Self, BindingError> {
        let mut bindings = Self::default();
        for (name, keys) in settings {
            let wrong = |message| BindingError { name: name.clone(), message };
            let (action, count) = changeable(name).map_err(wrong)?;
            let keys: Result<Vec<_>, _> = keys.all().iter().map(|key| key_of(key)).collect();
            let keys = keys.map_err(wrong)?;
            if keys.is_empty() || (count > 5 && keys.len() != count) {
                let wanted = if count > 5 { format!("{count} keys") } else { "a key".to_owned() };
                return Err(wrong(format!("needs {wanted}")));
            }
            bindings.changed.push((action, keys));
        }
        bindings.check()?;
        Ok(bindings)
    }

    /// A key has only one action in a context.
    fn check(&self) -> Result<(), BindingError> {
        for context in Context::ALL {
            let mut taken: Vec<(Key, Action)> = Vec::new();
            for binding in BINDINGS.iter().filter(|b| b.contexts.contains(context)) {
                for &key in self.keys(binding) {
                    let other = taken.iter().find(|(known, _)| *known == key).map(|(_, a)| *a);
                    match other {
                        Some(other) if other != binding.action => {
                            return Err(self.conflict(key, binding.action, other));
                        }
                        _ => taken.push((key, binding.action)),
                    }
                }
            }
        }
        Ok(())
    }

    fn conflict(&self, key: Key, one: Action, other: Action) -> BindingError {
        let is_changed = self.changed.iter().any(|(action, _)| *action == one);
        let (changed, other) = if is_changed { (one, other) } else { (other, one) };
        let message = format!("{} is also the key of {}", key.label(), name(other));
        BindingError { name: name(changed), message }
    }

    /// The keys of a row of the table.
    pub fn keys<'a>(&'a self, binding: &'a Binding) -> &'a [Key] {
        let changed = self.changed.iter().find(|(action, _)| *action == binding.action);
        match changed {
            Some((_, keys)) if can_change(binding) => keys,
            _ => binding.keys,
        }
    }

    /// The label of an action's key in a context, or else of its key anywhere.
    pub fn label(&self, context: Context, action: Action) -> String {
        let mut rows = BINDINGS.iter().filter(|binding| binding.action == action);
        let here = rows.clone().find(|binding| binding.contexts.contains(context));
        let row = here.or_else(|| rows.next());
        row.map_or_else(String::new, |binding| short_label(self.keys(binding)))
    }

    /// The action of a key in a context, and the key's position in its binding.
    pub fn find(&self, context: Context, event: &KeyEvent) -> Option<(Action, usize)> {
        let mut here = BINDINGS.iter().filter(|binding| binding.contexts.contains(context));
        here.find_map(|binding| {
            let nth = self.keys(binding).iter().position(|key| key.matches(event))?;
            Some((binding.action, nth))
        })
    }
}

/// The action with a name, and how many keys it has in the table.
fn changeable(wanted: &str) -> Result<(Action, usize), String> {
    let mut rows = BINDINGS.iter().filter(|binding| can_change(binding));
    let found = rows.find(|binding| name(binding.action) == wanted);
    found.map(|binding| (binding.action, binding.keys.len())).ok_or_else(|| {
        let mut names: Vec<_> =
            BINDINGS.iter().filter(|b| can_change(b)).map(|b| name(b.action)).collect();
        names.sort();
        names.dedup();
        format!("is not an action; the actions are {}", names.join(", "))
    })
}

fn key_of(text: &str) -> Result<Key, String> {
    let wrong = || {
        format!(
            "`{text}` is not a key; try p, P, ctrl-p, f5, space, tab, shift-tab, enter, up, pgdn, home …"
        )
    };
    let lower = text.to_ascii_lowercase();
    let mut chars = text.chars();
    if let (Some(c), None) = (chars.next(), chars.next()) {
        return if c.is_control() || c == ' ' { Err(wrong()) } else { Ok(ch(c)) };
    }
    if let Some(rest) = lower.strip_prefix("ctrl-") {
        let mut chars = rest.chars();
        return match (chars.next(), chars.next()) {
            (Some(c), None) if c.is_ascii_alphabetic() => Ok(ctrl(c)),
            _ => Err(wrong()),
        };
    }
    if let Some(number) = lower.strip_prefix('f').and_then(|rest| rest.parse().ok()) {
        return if (1..=12).contains(&number) {
            Ok(code(KeyCode::F(number)))
        } else {
            Err(wrong())
        };
    }
    Ok(code(match lower.as_str() {
        "space" => KeyCode::Char(' '),
        "enter" => KeyCode::Enter,
        "tab" => KeyCode::Tab,
        "shift-tab" => KeyCode::BackTab,
        "up" => KeyCode::Up,
        "down" => KeyCode::Down,
        "left" => KeyCode::Left,
        "right" => KeyCode::Right,
        "pgup" => KeyCode::PageUp,
        "pgdn" => KeyCode::PageDown,
        "home" => KeyCode::Home,
        "end" => KeyCode::End,
        "insert" => KeyCode::Insert,
        "delete" => KeyCode::Delete,
        "backspace" => KeyCode::Backspace,
        _ => return Err(wrong()),
    }))
}

#[cfg(test)]
mod tests {
    use crossterm::event::KeyModifiers;

    use super::*;

    fn read(settings: &[(&str, &[&str])]) -> Result<Bindings, String> {
        let settings = settings.iter().map(|(name, keys)| {
            let keys = keys.iter().map(|key| (*key).to_owned()).collect();
            ((*name).to_owned(), KeyNames::Several(keys))
        });
        Bindings::read(&settings.collect()).map_err(|e| format!("{}: {}", e.name, e.message))
    }

    fn press(bindings: &Bindings, context: Context, c: char) -> Option<Action> {
        let event = KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE);
        bindings.find(context, &event).map(|(action, _)| action)
    }

    #[test]
    fn a_custom_key_replaces_the_default() {
        let own = read(&[("pause", &["A", "ctrl-p"]), ("help", &["h"])]).unwrap();
        assert_eq!(press(&own, Context::Log, 'A'), Some(Action::Pause));
        assert_eq!(press(&own, Context::Log, ' '), None);
        assert_eq!(press(&own, Context::Detail, 'h'), Some(Action::Help));
        assert_eq!(press(&own, Context::Help, '?'), Some(Action::Back));
        let swapped = read(&[("search", &["&"]), ("filter", &["/"])]).unwrap();
        assert_eq!(press(&swapped, Context::Log, '/'), Some(Action::Filter));
        let stages =
            read(&[("toggle-stage", &["f7", "f8", "f9", "f10", "f11", "f12"]), ("help", &["?"])]);
        let event = KeyEvent::new(KeyCode::F(9), KeyModifiers::NONE);
        assert_eq!(stages.unwrap().find(Context::Log, &event), Some((Action::ToggleStage, 2)));
    }

    #[test]
    fn keys_of_text_fields_and_global_keys_cannot_be_changed() {
        let own = read(&[("up", &["x"]), ("full-pane", &["X"]), ("quit", &["Q"])]).unwrap();
        for context in TEXT {
            assert_eq!(press(&own, context, 'x'), None, "{context:?}");
        }
        let event = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(own.find(Context::Field, &event).unwrap().0, Action::QuitAtOnce);
        let up = KeyEvent::new(KeyCode::Up, KeyModifiers::NONE);
        assert_eq!(own.find(Context::Projects, &up).unwrap().0, Action::Up);
        assert_eq!(own.find(Context::Log, &up), None);
    }

    #[test]
    fn errors_name_the_setting_and_what_is_allowed() {
        for (settings, part) in [
            (&[("pose", &["p"][..])][..], "pose: is not an action; the actions are acknowledge, "),
            (&[("back", &["p"])], "back: is not an action"),
            (&[("pause", &["p"])], "pause: p is also the key of projects"),
            (&[("pause", &["ctrl-c"])], "pause: Ctrl-C is also the key of quit"),
            (&[("pause", &["superkey"])], "pause: `superkey` is not a key; try"),
            (&[("pause", &["f13"])], "is not a key"),
            (&[("pause", &[])], "needs a key"),
            (&[("toggle-stage", &["f3"])], "toggle-stage: needs 6 keys"),
        ] {
            let error = read(settings).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        assert!(read(&[]).is_ok());
    }
}
