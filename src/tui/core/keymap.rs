//! The table of keys, used for dispatch, the hints in the footer, the help and the docs. Keys are
//! matched nowhere else; in a text field, all other keys are text.
//!
//! - `action`: what keys do
//! - `bindings`: the user's own keys
//! - `context`: the contexts in which keys apply
//! - `group`: the groups of the help
//! - `key`: a key and its notation
//! - `table`: all bindings

mod action;
mod bindings;
mod context;
mod group;
mod key;
mod table;

pub use action::Action;
pub use bindings::{BindingError, Bindings, name};
pub use context::{Context, Contexts};
pub use group::Group;
pub use key::{Key, label, short_label};
pub use table::BINDINGS;

/// Keys that do the same thing.
pub struct Binding {
    /// The keys; for stages, in the order of the stages.
    pub keys: &'static [Key],
    /// The contexts in which they apply.
    pub contexts: Contexts,
    /// Their action.
    pub action: Action,
    /// Its description in the help.
    pub help: &'static str,
    /// Its description in the footer, in a word or two, if it is shown there.
    pub hint: Option<&'static str>,
    /// Its group in the help.
    pub group: Group,
}

/// Whether an action has a key in a context.
pub fn is_bound(context: Context, action: Action) -> bool {
    BINDINGS.iter().any(|binding| binding.action == action && binding.contexts.contains(context))
}

/// The bindings of a context that the footer shows.
pub fn hints(context: Context) -> impl Iterator<Item = &'static Binding> {
    let here = BINDINGS.iter().filter(move |binding| binding.contexts.contains(context));
    here.filter(|binding| binding.hint.is_some())
}

/// The table as Markdown, for docs/console.md.
pub fn markdown() -> String {
    let mut out = String::new();
    for group in Group::ALL {
        out.push_str(&format!("| {} | |\n| --- | --- |\n", group.title()));
        for binding in group.bindings() {
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
mod tests;
