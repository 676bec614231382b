use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::*;

#[test]
fn every_key_does_one_thing_in_a_context_and_is_found() {
    for binding in BINDINGS {
        for context in binding.contexts.iter() {
            for (nth, key) in binding.keys.iter().enumerate() {
                let found = Bindings::default().find(context, &key.event());
                assert_eq!(found, Some((binding.action, nth)), "{} {context:?}", key.label());
            }
        }
    }
}

#[test]
fn every_binding_is_in_the_help_and_the_readme_table() {
    let listed: usize = Group::ALL.iter().map(|group| group.bindings().count()).sum();
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
            for context in [Context::Field, Context::Projects, Context::Letter, Context::SqlInput] {
                assert_eq!(Bindings::default().find(context, &event), None, "{c}");
            }
        }
    }
}

#[test]
fn shift_is_ignored_but_alt_is_not() {
    let event = |modifiers| KeyEvent::new(KeyCode::Char('G'), modifiers);
    let found = Some((Action::Follow, 1));
    assert_eq!(Bindings::default().find(Context::Log, &event(KeyModifiers::SHIFT)), found);
    assert_eq!(Bindings::default().find(Context::Log, &event(KeyModifiers::ALT)), None);
    assert_eq!(Bindings::default().find(Context::Log, &event(KeyModifiers::CONTROL)), None);
}

#[test]
fn labels_are_short() {
    let label = |action| label(BINDINGS.iter().find(|b| b.action == action).unwrap().keys);
    assert_eq!(label(Action::ToggleStage), "1…6");
    assert_eq!(label(Action::Follow), "f G End");
    assert_eq!(label(Action::HalfUp), "Ctrl-U");
    assert_eq!(label(Action::Pause), "Space");
}

#[test]
fn the_help_of_a_context_begins_with_what_works_there() {
    assert_eq!(Group::order(Context::Log)[..3], [Group::Move, Group::Find, Group::Show]);
    assert_eq!(Group::order(Context::Queue)[0], Group::InQueue);
    for context in Context::ALL {
        let order = Group::order(context);
        let works = |group: &Group| group.bindings().any(|b| b.contexts.contains(context));
        assert!(order[1..].is_sorted_by_key(|group| !works(group)), "{context:?}");
        assert_eq!(order.len(), Group::ALL.len());
    }
}
